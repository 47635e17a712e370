# SPDX-License-Identifier: Apache-2.0
"""What oned has to be told about the driver, for OpenNebula 5.12 to 7.4.

oned copies the keys of TM_MAD_CONF into datastores when these are made or updated (``Datastore::set_tm_mad``); it
reads the keys that it knows and no others.
"""

from __future__ import annotations

from typing import NamedTuple

from linstor_helper.lifecycle import DRIVER

Version = tuple[int, ...]

OLDEST: Version = (5, 12)


class Key(NamedTuple):
    """One key of a section of oned.conf."""

    name: str
    value: str
    reason: str
    since: Version = OLDEST
    """The first release that reads the key, or for which it has this value."""
    until: Version | None = None
    """The first release for which that is no longer so."""

    def applies_to(self, version: Version) -> bool:
        return self.since <= version and (self.until is None or version < self.until)


class Appended(NamedTuple):
    """Words that join a list which OpenNebula's own configuration brings along."""

    file: str
    """Below OpenNebula's directory of configuration, such as /etc/one."""
    setting: str
    option: str
    """The option in the setting's ARGUMENTS that takes the list; empty when the setting is the list."""
    words: tuple[str, ...]
    separator: str
    reason: str


def _system(name: str, since: Version) -> tuple[Key, ...]:
    """Images of this driver on system datastores of another transfer manager.

    oned refuses to deploy unless all three keys are there (``VirtualMachineDisks::check_tm_mad``).
    """
    suffix = name.upper()
    where = f"On a system datastore `{name}`"
    return (
        Key(f"LN_TARGET_{suffix}", "NONE", f"{where}: a persistent image is used where it is.", since),
        Key(f"CLONE_TARGET_{suffix}", "SELF", f"{where}: copies stay in the image datastore.", since),
        Key(f"DISK_TYPE_{suffix}", "BLOCK", f"{where}: disks are devices still.", since),
    )


LOCAL_SINCE: Version = (7, 0)

TM_MAD_CONF = (
    Key("NAME", DRIVER, "The driver."),
    Key("LN_TARGET", "NONE", "A persistent image is used where it is and takes no more space."),
    Key("CLONE_TARGET", "SELF", "Copies take their space from the image datastore."),
    Key(
        "SHARED",
        "YES",
        "Every host reaches the volumes: oned asks the driver for the capacity of a system datastore, and "
        "migration copies no disks.",
    ),
    Key("DRIVER", "raw", "Volumes have no format of their own."),
    Key(
        "DISK_TYPE",
        "BLOCK",
        "Hypervisors open devices. Earlier releases, and system datastores of all, need it in their template.",
        (6, 8),
    ),
    Key(
        "ALLOW_ORPHANS",
        "YES",
        "Snapshots do not depend on each other: each can be deleted, and a revert keeps all others.",
    ),
    Key("DS_MIGRATE", "YES", "A stopped VM may change its system datastore: only its directory moves."),
    Key(
        "DS_LIVE_MIGRATE",
        "NO",
        "A running VM would lose the links to its devices: oned makes none in the new directory.",
        (7, 2),
    ),
    Key(
        "DS_MIGRATE_SNAP",
        "YES",
        "Disk snapshots do not keep a VM from changing its system datastore: they stay where they are.",
        (7, 2),
    ),
    Key("PERSISTENT_SNAPSHOTS", "YES", "Persistent images have snapshots like any other.", (7, 0)),
    Key(
        "TM_MAD_SYSTEM",
        "ssh,shared,qcow2",
        "Other system datastores on which images of this driver can be used.",
        until=LOCAL_SINCE,
    ),
    Key(
        "TM_MAD_SYSTEM",
        "ssh,shared,qcow2,local",
        "The same, with the transfer manager that 7.0 brought.",
        LOCAL_SINCE,
    ),
    *_system("ssh", OLDEST),
    *_system("shared", OLDEST),
    *_system("qcow2", OLDEST),
    *_system("local", LOCAL_SINCE),
)

DS_MAD_CONF = (
    Key("NAME", DRIVER, "The driver."),
    Key(
        "REQUIRED_ATTRS",
        "LINSTOR_RESOURCE_GROUP",
        "oned refuses an image datastore without it, before the driver is asked.",
    ),
    Key("PERSISTENT_ONLY", "NO", "Images can be copied for each VM."),
    Key("MARKETPLACE_ACTIONS", "export", "Sunstone offers to export images to a marketplace."),
)

LINES = (
    Key(
        "VM_RESTRICTED_ATTR",
        "LINSTOR_SNAPSHOT_LIMIT",
        "Only oneadmin's group may say for a VM how many snapshots its disks may have.",
    ),
)
"""Lines of their own, beside those of the same name that OpenNebula brings along."""

APPENDED = (
    Appended(
        "oned.conf", "TM_MAD", "-d", (DRIVER,), ",", "oned starts `tm/` scripts of listed drivers only."
    ),
    Appended("oned.conf", "DATASTORE_MAD", "-d", (DRIVER,), ",", "The same for the scripts in `datastore/`."),
    Appended(
        "oned.conf",
        "DATASTORE_MAD",
        "-s",
        (DRIVER,),
        ",",
        "System datastores of listed drivers only are monitored.",
    ),
    Appended(
        "vmm_exec/vmm_execrc",
        "LIVE_DISK_SNAPSHOTS",
        "",
        (f"kvm-{DRIVER}", f"qemu-{DRIVER}"),
        " ",
        "Without them a snapshot of a running VM's disk fails before the driver is asked.",
    ),
)


def tm_mad_conf(version: Version) -> dict[str, str]:
    """The driver's TM_MAD_CONF for a release of OpenNebula, in the order in which it is written."""
    return _values(TM_MAD_CONF, version)


def ds_mad_conf(version: Version) -> dict[str, str]:
    """The driver's DS_MAD_CONF for a release of OpenNebula, in the order in which it is written."""
    return _values(DS_MAD_CONF, version)


def render(version: Version) -> str:
    """The sections and lines that oned.conf needs besides what ``APPENDED`` says, ending with a newline."""
    lines = "".join(f'{key.name} = "{key.value}"\n' for key in LINES if key.applies_to(version))
    return "\n".join(
        (_section("TM_MAD_CONF", tm_mad_conf(version)), _section("DS_MAD_CONF", ds_mad_conf(version)), lines)
    )


def _values(keys: tuple[Key, ...], version: Version) -> dict[str, str]:
    return {key.name: key.value for key in keys if key.applies_to(version)}


def _section(name: str, values: dict[str, str]) -> str:
    lines = ",\n".join(f'    {key} = "{value}"' for key, value in values.items())
    return f"{name} = [\n{lines}\n]\n"
