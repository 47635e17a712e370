# SPDX-License-Identifier: Apache-2.0
"""The settings of one datastore: the driver's configuration file, overridden by the datastore's template."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from linstor_helper.errors import ConfigError
from linstor_helper.layout import OneLayout
from linstor_helper.onexml.records import Datastore, Vm
from linstor_helper.settings import conf_file, controllers
from linstor_helper.settings.attributes import (
    ATTRIBUTES,
    DEPRECATED,
    FORMER_CLONE_MODES,
    PREFIX,
    Attribute,
    Value,
)

__all__ = ["ATTRIBUTES", "DEPRECATED", "Attribute", "Settings", "for_vm", "load"]

_BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}


class Settings(NamedTuple):
    """Every attribute with its value; see ``attributes.ATTRIBUTES`` for their meaning.

    Times are in seconds.  Files could be read and were not empty; their contents are not in here.
    """

    resource_group: str
    controllers: tuple[str, ...]
    """``linstor://host:port`` or ``linstor+ssl://host:port``."""
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    token_file: str | None
    tls_verify: bool
    connect_timeout: int
    timeout: int
    ssh_timeout: int
    attach_timeout: int
    clone_timeout: int
    capacity_cache: int
    move_data: bool
    instance: str
    allow_shareable: bool
    clone_mode: str
    """``auto``, ``dependent`` or ``independent``."""
    fsfreeze: bool
    snapshot_limit: int | None
    export_format: str
    """``qcow2`` or ``raw``."""
    bridge_list: tuple[str, ...]
    staging_dir: str
    restricted_dirs: tuple[str, ...]
    safe_dirs: tuple[str, ...]
    no_decompress: bool
    limit_transfer_bw: str | None
    warnings: tuple[str, ...]
    """One line each, for the log; the reader knows which datastore is meant."""


def load(datastore: Datastore, layout: OneLayout, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a datastore.

    Raises ConfigError for an unknown attribute, a bad value, an unusable file or a missing resource group; it
    names the attribute and where it stands.
    """
    written = _Written(datastore, layout)
    values: dict[str, Value | None] = {}
    for attribute in ATTRIBUTES:
        values[attribute.field] = written.value(attribute)
    if values["key_file"] is not None and values["cert_file"] is None:
        raise ConfigError(
            f"LINSTOR_KEY_FILE is set without LINSTOR_CERT_FILE in {written.origin('LINSTOR_KEY_FILE')}"
        )
    if values["resource_group"] is None:
        raise written.missing_resource_group()
    if values["controllers"] is None:
        values["controllers"] = _default_controllers(environment, layout.linstor_client_conf)
    return Settings(**values, warnings=written.warnings())  # type: ignore[arg-type]


def for_vm(settings: Settings, vm: Vm) -> Settings:
    """The settings for the disks of a VM: those of the datastore, and what the VM says of ``Attribute.of_vm``.

    Raises ConfigError, which names the attribute and the VM.
    """
    values: dict[str, Value] = {}
    for attribute in ATTRIBUTES:
        text = vm.attributes.get(attribute.name, "").strip() if attribute.of_vm else ""
        if text:
            try:
                values[attribute.field] = attribute.read(text)
            except ValueError as error:
                raise ConfigError(f"{attribute.name} {error}: {text!r} in VM {vm.id}") from None
    return settings._replace(**values)  # type: ignore[arg-type]


class _Written:
    """What the administrator wrote, by attribute: text and place."""

    def __init__(self, datastore: Datastore, layout: OneLayout) -> None:
        self._datastore = datastore
        in_file = conf_file.read(layout.configuration)
        in_template = datastore.template
        _refuse_unknown(in_file, layout.configuration)
        _refuse_unknown((name for name in in_template if name.startswith(PREFIX)), str(datastore))
        self._texts: dict[str, tuple[str, str]] = {}
        for source, place in ((in_file, layout.configuration), (in_template, str(datastore))):
            for name, text in source.items():
                # An empty attribute is how an administrator takes one back that he cannot delete.
                if (name in _BY_NAME or name in DEPRECATED) and text.strip():
                    self._texts[name] = (text.strip(), place)

    def origin(self, name: str) -> str:
        return self._texts[name][1]

    def value(self, attribute: Attribute) -> Value | None:
        """None when neither the administrator nor the table says anything."""
        text, place = self._texts.get(attribute.name, (attribute.default, ""))
        if not text:
            return () if attribute.kind == "list" else None
        try:
            return attribute.read(text)
        except ValueError as error:
            # A file's name that is no path may be the secret itself, and an address may carry a password.
            secret = attribute.kind == "controllers" or (
                attribute.kind == "file" and not text.startswith("/")
            )
            shown = "" if secret else f": {text!r}"
            raise ConfigError(f"{attribute.name} {error}{shown} in {place}") from None

    def missing_resource_group(self) -> ConfigError:
        error = f"LINSTOR_RESOURCE_GROUP is missing in {self._datastore}"
        options = [
            f"{option} {self._texts[name][0]}" for name, option in DEPRECATED.items() if name in self._texts
        ]
        create = " ".join(["linstor resource-group create NAME", *options])
        return ConfigError(
            error, hint=f"create one ({create}) and name it with onedatastore update {self._datastore.id}"
        )

    def warnings(self) -> tuple[str, ...]:
        lines = [
            f"{name} has no effect, the resource group decides; remove it"
            for name in DEPRECATED
            if name in self._texts
        ]
        former = self._texts.get("LINSTOR_CLONE_MODE", ("", ""))[0].lower()
        if former in FORMER_CLONE_MODES:
            lines.append(f"LINSTOR_CLONE_MODE: {former} is now called {FORMER_CLONE_MODES[former]}")
        if self.value(_BY_NAME["LINSTOR_TLS_VERIFY"]) is False:
            lines.append("LINSTOR_TLS_VERIFY switches the verification of certificates off")
        return tuple(lines)


def _refuse_unknown(names: Iterable[str], place: str) -> None:
    for name in names:
        if name in _BY_NAME or name in DEPRECATED:
            continue
        # Only the error path pays for the import.
        import difflib

        # The prefix that all have in common would make all of them alike.
        endings = {known.replace(PREFIX, ""): known for known in _BY_NAME}
        near = difflib.get_close_matches(name.replace(PREFIX, ""), endings, n=1)
        hint = "known are " + ", ".join(known for known in _BY_NAME if known.startswith(PREFIX))
        if near:
            hint = f"did you mean {endings[near[0]]}? {hint}"
        raise ConfigError(f"unknown attribute {name} in {place}", hint=hint)


def _default_controllers(environment: Mapping[str, str], client_conf: str) -> tuple[str, ...]:
    text = controllers.default(environment, client_conf)
    try:
        return controllers.normalise(text)
    except ValueError as error:
        raise ConfigError(f"LS_CONTROLLERS or {client_conf} {error}") from None
