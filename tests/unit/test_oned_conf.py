# SPDX-License-Identifier: Apache-2.0
"""oned's configuration of the driver: what each release gets, and that the administrator's page says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linstor_helper import oned_conf
from linstor_helper.oned_conf import APPENDED, DS_MAD_CONF, LINES, TM_MAD_CONF, Appended, Key, Version
from linstor_helper.settings import ATTRIBUTES

PAGE = (Path(__file__).parents[2] / "docs" / "install.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^([A-Z_]+) = \[\n(.*?)\n\]$", re.DOTALL | re.MULTILINE)
LINE = re.compile(r'^([A-Z_]+) = "([^"\\]*)"$', re.MULTILINE)
PAIR = re.compile(r'    ([A-Z0-9_]+) = "([^"\\]*)"')
NEWEST: Version = (7, 4, 0)
RELEASES: list[Version] = [(5, 12, 0), (6, 0, 3), (6, 6, 3), (6, 8, 0), (6, 10, 5), (7, 0), (7, 2, 0), NEWEST]

ALWAYS = {
    "NAME": "linstor",
    "LN_TARGET": "NONE",
    "CLONE_TARGET": "SELF",
    "SHARED": "YES",
    "DRIVER": "raw",
    "ALLOW_ORPHANS": "YES",
    "DS_MIGRATE": "YES",
    "LN_TARGET_SSH": "NONE",
    "CLONE_TARGET_SSH": "SELF",
    "DISK_TYPE_SSH": "BLOCK",
    "LN_TARGET_SHARED": "NONE",
    "CLONE_TARGET_SHARED": "SELF",
    "DISK_TYPE_SHARED": "BLOCK",
    "LN_TARGET_QCOW2": "NONE",
    "CLONE_TARGET_QCOW2": "SELF",
    "DISK_TYPE_QCOW2": "BLOCK",
}
UNTIL_7_0 = {"TM_MAD_SYSTEM": "ssh,shared,qcow2"}
SINCE_6_8 = {"DISK_TYPE": "BLOCK"}
SINCE_7_0 = {
    "TM_MAD_SYSTEM": "ssh,shared,qcow2,local",
    "LN_TARGET_LOCAL": "NONE",
    "CLONE_TARGET_LOCAL": "SELF",
    "DISK_TYPE_LOCAL": "BLOCK",
    "PERSISTENT_SNAPSHOTS": "YES",
}
SINCE_7_2 = {"DS_LIVE_MIGRATE": "NO", "DS_MIGRATE_SNAP": "YES"}
DATASTORE = {
    "NAME": "linstor",
    "REQUIRED_ATTRS": "LINSTOR_RESOURCE_GROUP",
    "PERSISTENT_ONLY": "NO",
    "MARKETPLACE_ACTIONS": "export",
}


def parsed(text: str) -> dict[str, dict[str, str]]:
    """Sections with their pairs, and below "" the lines outside of them; fails on anything else."""
    sections = {}
    for name, body in SECTION.findall(text):
        pairs = [PAIR.fullmatch(line) for line in body.split(",\n")]
        assert all(pairs), body
        sections[name] = dict(pair.groups() for pair in pairs if pair)
        assert len(sections[name]) == len(pairs), f"{name} says something twice"
    lines = LINE.findall(text)
    sections[""] = dict(lines)
    assert len(sections[""]) == len(lines)
    assert LINE.sub("", SECTION.sub("", text)).strip() == ""
    return sections


@pytest.mark.parametrize(
    ("version", "transfer"),
    [
        ((5, 12), {**ALWAYS, **UNTIL_7_0}),
        ((5, 12, 0), {**ALWAYS, **UNTIL_7_0}),
        ((6, 6, 3), {**ALWAYS, **UNTIL_7_0}),
        ((6, 8, 0), {**ALWAYS, **UNTIL_7_0, **SINCE_6_8}),
        ((6, 10, 5, 1), {**ALWAYS, **UNTIL_7_0, **SINCE_6_8}),
        ((7, 0), {**ALWAYS, **SINCE_6_8, **SINCE_7_0}),
        ((7, 0, 2), {**ALWAYS, **SINCE_6_8, **SINCE_7_0}),
        ((7, 2, 0), {**ALWAYS, **SINCE_6_8, **SINCE_7_0, **SINCE_7_2}),
        ((7, 4, 0), {**ALWAYS, **SINCE_6_8, **SINCE_7_0, **SINCE_7_2}),
    ],
    ids=str,
)
def test_what_a_release_gets(version: Version, transfer: dict[str, str]) -> None:
    assert oned_conf.tm_mad_conf(version) == transfer
    assert oned_conf.ds_mad_conf(version) == DATASTORE
    assert parsed(oned_conf.render(version)) == {
        "TM_MAD_CONF": transfer,
        "DS_MAD_CONF": DATASTORE,
        "": {"VM_RESTRICTED_ATTR": "LINSTOR_SNAPSHOT_LIMIT"},
    }


@pytest.mark.parametrize("version", RELEASES, ids=str)
def test_each_foreign_system_datastore_has_what_oned_demands(version: Version) -> None:
    """Else oned refuses every image datastore of the driver."""
    conf = oned_conf.tm_mad_conf(version)
    names = conf["TM_MAD_SYSTEM"].upper().split(",")
    wanted = {f"{key}_{name}" for name in names for key in ("LN_TARGET", "CLONE_TARGET", "DISK_TYPE")}
    suffixed = {key for key in conf if re.match(r"(LN_TARGET|CLONE_TARGET|DISK_TYPE)_", key)}
    assert suffixed == wanted


@pytest.mark.parametrize("keys", [TM_MAD_CONF, DS_MAD_CONF])
def test_no_release_has_two_values_of_a_key(keys: tuple[Key, ...]) -> None:
    for version in RELEASES:
        found = [key.name for key in keys if key.applies_to(version)]
        assert len(found) == len(set(found))


@pytest.mark.parametrize("one", [*TM_MAD_CONF, *DS_MAD_CONF, *LINES, *APPENDED], ids=str)
def test_everything_has_its_reason(one: Key | Appended) -> None:
    assert one.reason.endswith(".")
    assert len(one.reason) > len("The same.")


def test_restricted_attributes_are_those_of_vms() -> None:
    of_vms = {attribute.name for attribute in ATTRIBUTES if attribute.of_vm}
    assert {key.value for key in LINES if key.name == "VM_RESTRICTED_ATTR"} <= of_vms


def test_what_joins_other_lists() -> None:
    assert [(one.file, one.setting, one.option, one.separator.join(one.words)) for one in APPENDED] == [
        ("oned.conf", "TM_MAD", "-d", "linstor"),
        ("oned.conf", "DATASTORE_MAD", "-d", "linstor"),
        ("oned.conf", "DATASTORE_MAD", "-s", "linstor"),
        ("vmm_exec/vmm_execrc", "LIVE_DISK_SNAPSHOTS", "", "kvm-linstor qemu-linstor"),
    ]


def since(key: Key) -> str:
    first = ".".join(map(str, key.since))
    return first if key.until is None else f"{first}, before " + ".".join(map(str, key.until))


def rows() -> list[str]:
    appended = [
        f"| `{one.file}` | `{one.setting}` | {f'`{one.option}`' if one.option else ''} "
        f"| `{one.separator.join(one.words)}` | {one.reason} |"
        for one in APPENDED
    ]
    keys = [
        f"| `{key.name}` | `{key.value}` | {since(key)} | {key.reason} |"
        for key in (*TM_MAD_CONF, *DS_MAD_CONF, *LINES)
    ]
    return appended + keys


def test_the_page_has_the_text_for_the_newest_release() -> None:
    indented = "".join(f"    {line}\n" if line else "\n" for line in oned_conf.render(NEWEST).splitlines())
    assert f"\n{indented}\n" in PAGE


def test_the_page_has_these_rows_and_no_others() -> None:
    section = PAGE.partition("\n## oned.conf\n")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == rows()
