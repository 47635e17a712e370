# SPDX-License-Identifier: Apache-2.0
"""Property maps: which keys an object takes, how a map is changed, filters of lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from linstor.properties import properties as _known  # type: ignore[import-untyped]

from lab.controller import codes
from lab.controller.codes import Reply

_MAX_KEY = 256
_KEY = re.compile(r"[^/\x00]+(/[^/\x00]+)*")
_SETS = {
    "controller": ("controller",),
    "node": ("node",),
    "pool": ("storagepool",),
    "group": ("resource-definition", "volume-definition"),
    "volume-group": ("volume-definition",),
    "definition": ("resource-definition", "volume-definition"),
    "volume-definition": ("volume-definition",),
    "resource": ("resource",),
    "connection": ("rsc-conn",),
    "snapshot": (),
}
_RULES: dict[str, dict[str, dict[str, Any]]] = {
    kind: {str(rule["key"]): rule for name in names for rule in _known[name]} for kind, names in _SETS.items()
}
# accepted by the server on groups; python-linstor lists them for the controller only
_RULES["group"]["UseZFSClone"] = {"type": "boolean_true_false"}


def _acceptable(rule: Mapping[str, Any], value: str) -> bool:
    kind = rule["type"]
    if kind == "boolean":
        return value in ("yes", "no")
    if kind == "boolean_true_false":
        return value.lower() in ("true", "false")
    if kind == "symbol":
        return value in [str(one) for one in rule.get("values", ())]
    if kind == "range":
        return value.lstrip("-").isdigit() and rule["min"] <= int(value) <= rule["max"]
    if kind == "long":
        return value.lstrip("-").isdigit()
    if kind == "range-float":
        try:
            return float(rule["min_float"]) <= float(value) <= float(rule["max_float"])
        except ValueError:
            return False
    return True


def check(reply: Reply, kind: str, changes: Mapping[str, str]) -> None:
    """Raises 213 for a key that objects of this kind do not take, or a value that the key does not take."""
    for name, value in changes.items():
        if len(name) > _MAX_KEY or not _KEY.fullmatch(name.strip("/")):
            raise reply.fail(codes.INVLD_PROP, f"The property key '{name[:60]}' is not valid.")
        if name.startswith("Aux/"):
            continue
        if not _acceptable(_rule(reply, kind, name), value):
            raise reply.fail(codes.INVLD_PROP, f"The value '{value}' is not valid for the key '{name}'.")


def _rule(reply: Reply, kind: str, name: str) -> dict[str, Any]:
    """Raises 213."""
    rule = _RULES[kind].get(name)
    if rule is None:
        raise reply.fail(
            codes.INVLD_PROP,
            f"The property '{name}' cannot be changed here.",
            cause="Outside of the namespace 'Aux' only known keys can be set and deleted.",
        )
    return rule


def check_deletion(
    reply: Reply, kind: str, target: Mapping[str, str], delete: Iterable[str], namespaces: Iterable[str]
) -> None:
    """Raises 213 for keys that LINSTOR keeps for itself, whether they are set or not."""
    keys = list(delete or ())
    for namespace in namespaces or ():
        keys += [one for one in target if one.startswith(namespace.strip("/") + "/")]
    for name in keys:
        if not name.startswith("Aux/"):
            _rule(reply, kind, name)


def apply(
    target: dict[str, str],
    override: Mapping[str, str] | None = None,
    delete: Iterable[str] = (),
    namespaces: Iterable[str] = (),
) -> set[str]:
    """Change a map and answer the keys whose value changed. Deleting a missing key is no error, and deletion
    comes last."""
    before = dict(target)
    target.update(override or {})
    for name in delete or ():
        target.pop(name, None)
    for namespace in namespaces or ():
        prefix = namespace.strip("/") + "/"
        for name in [one for one in target if one.startswith(prefix)]:
            del target[name]
    return {name for name in {**before, **target} if before.get(name) != target.get(name)}


def change(reply: Reply, kind: str, target: dict[str, str], body: Mapping[str, Any]) -> set[str]:
    """Apply the three modification fields of a request body after checking the keys."""
    override = body.get("override_props") or {}
    check(reply, kind, override)
    delete, namespaces = body.get("delete_props") or (), body.get("delete_namespaces") or ()
    check_deletion(reply, kind, target, delete, namespaces)
    return apply(target, override, delete, namespaces)


def matches(target: Mapping[str, str], filters: Iterable[str]) -> bool:
    """``Key`` (present) and ``Key=Value`` (equal), all of them, case-sensitive."""
    for one in filters:
        name, equals, value = one.partition("=")
        if name not in target or (equals and target[name] != value):
            return False
    return True


def is_true(value: str | None, default: bool = False) -> bool:
    return default if value is None else value.lower() in ("true", "yes")
