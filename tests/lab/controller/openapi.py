# SPDX-License-Identifier: Apache-2.0
"""Checks replies and accepted bodies against LINSTOR's OpenAPI description, when that file is at hand."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from lab.controller import RequestRecord

_NEXT_TO_CHECKOUT = Path(__file__).parents[3].parent / "shared" / "reference" / "linstor_rest_v1_openapi.yaml"
# single GETs that the description lacks, or has as an array where the server and its clients have an object
_SINGLE = {
    "/v1/nodes/{node}": "Node",
    "/v1/resource-groups/{resource_group}": "ResourceGroup",
    "/v1/resource-definitions/{resource}": "ResourceDefinition",
    "/v1/resource-definitions/{resource}/resources/{node}": "Resource",
    "/v1/resource-definitions/{resource}/resources/{node}/volumes/{volume_number}": "Volume",
    "/v1/resource-definitions/{resource}/volume-definitions/{volume_number}": "VolumeDefinition",
    "/v1/resource-definitions/{resource}/snapshots/{snapshot}": "Snapshot",
    "/v1/resource-definitions/{resource}/resource-connections/{node_a}/{node_b}": "ResourceConnection",
    "/v1/encryption/passphrase": "PassphraseStatus",
}
# fields of REST 1.29, the description is of 1.28
_LATER_BODY_FIELDS = ("auto_manage_dual_primary", "volume_sizes")


def description_file() -> Path | None:
    """$LINSTOR_OPENAPI, or the file in a directory next to the checkout."""
    given = os.environ.get("LINSTOR_OPENAPI")
    path = Path(given) if given else _NEXT_TO_CHECKOUT
    return path if path.is_file() else None


def _closed(schema: Any) -> Any:
    """Tighten: no undescribed fields. Loosen where the description contradicts itself."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(value) for name, value in schema.items() if name not in ("example", "oneOf")}
    if "oneOf" in schema:
        # its alternatives have only optional fields, so several match at once
        made["anyOf"] = _closed(schema["oneOf"])
    if "properties" in made and made.get("type") == "object" and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


class OpenApi:
    """The description, ready to check records of requests."""

    def __init__(self, path: Path) -> None:
        document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        schemas = document["components"]["schemas"]
        whole = schemas["ResourceWithVolumes"]["allOf"]
        schemas["ResourceWithVolumes"] = {
            "type": "object",
            "properties": {**schemas["Resource"]["properties"], **whole[1]["properties"]},
        }
        effective = schemas["EffectivePropertiesMapValue"]["allOf"]
        schemas["EffectivePropertiesMapValue"] = {
            "type": "object",
            "properties": {**schemas["PropertyWithDescription"]["properties"], **effective[1]["properties"]},
        }
        # the server writes node types in capitals
        schemas["Node"]["properties"]["type"].pop("enum")
        self._components = {"schemas": _closed(schemas)}
        self._responses = document["components"]["responses"]
        self._paths = [
            (self._pattern(template), template, operations)
            for template, operations in document["paths"].items()
        ]
        self._paths.sort(key=lambda one: one[1].count("{"))
        self._validators: dict[str, Any] = {}

    @staticmethod
    def _pattern(template: str) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(template)) + "$")

    def _find(self, path: str) -> tuple[str, dict[str, Any]]:
        for pattern, template, operations in self._paths:
            if pattern.match(path):
                return template, operations
        return "", {}

    def _validate(self, schema: dict[str, Any], value: Any, what: str) -> None:
        name = json.dumps(schema, sort_keys=True)
        if name not in self._validators:
            full = {**_closed(schema), "components": self._components}
            self._validators[name] = jsonschema.Draft7Validator(full)
        problem = jsonschema.exceptions.best_match(self._validators[name].iter_errors(value))
        assert problem is None, f"{what}: {problem.message} at {list(problem.absolute_path)}"

    def check(self, record: RequestRecord) -> bool:
        """Assert that the request and its reply fit the description. False: nothing to check there."""
        template, operations = self._find(record.path)
        what = f"{record.method} {record.path} -> {record.status}"
        operation = operations.get(record.method.lower())
        if operation and 200 <= record.status < 300:
            self._check_body(operation, record, what)
        schema = self._reply_schema(template, operation, record)
        if schema is None or not record.reply:
            return False
        self._validate(schema, json.loads(record.reply), what)
        return True

    def _check_body(self, operation: dict[str, Any], record: RequestRecord, what: str) -> None:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content and isinstance(record.body, (dict, list)):
            body = record.body
            if isinstance(body, dict):
                body = {name: value for name, value in body.items() if name not in _LATER_BODY_FIELDS}
            self._validate(content["schema"], body, f"body of {what}")

    def _reply_schema(
        self, template: str, operation: dict[str, Any] | None, record: RequestRecord
    ) -> dict[str, Any] | None:
        if record.status >= 400:
            if record.status == 503 or record.path.endswith("/clone"):
                return None
            return {"$ref": "#/components/schemas/ApiCallRcList"}
        if record.method == "GET" and template in _SINGLE:
            return {"$ref": f"#/components/schemas/{_SINGLE[template]}"}
        for status, response in (operation or {}).get("responses", {}).items():
            if "$ref" in response:
                response = self._responses[response["$ref"].rsplit("/", 1)[1]]
            content = response.get("content", {}).get("application/json")
            if status.startswith("2") and content:
                found: dict[str, Any] = content["schema"]
                return found
        return None
