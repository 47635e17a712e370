# SPDX-License-Identifier: Apache-2.0
"""Every attribute that the driver reads from its configuration file or from a datastore's template."""

from __future__ import annotations

import os
import re
import stat
from typing import Callable, NamedTuple, Union

from linstor_helper.onexml.records import boolean
from linstor_helper.settings.controllers import normalise

Value = Union[str, int, bool, tuple[str, ...]]

PREFIX = "LINSTOR_"
_RESOURCE_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,47}\Z")
_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")
_RATE = re.compile(r"[0-9]+(?:\.[0-9]+)?[bkmgtp]?\Z", re.IGNORECASE)
_DAY = 24 * 60 * 60
_MOST_SNAPSHOTS = 10_000

FORMER_CLONE_MODES = {"snapshot": "dependent", "copy": "independent"}
"""Values of LINSTOR_CLONE_MODE in addon-linstor 1.x, and what means the same."""


class Attribute(NamedTuple):
    """One attribute.  ``read`` makes the value of its text; its ValueError says what is wrong with that."""

    name: str
    field: str
    """Its name in ``Settings``."""
    kind: str
    default: str
    """As it would be written; empty when there is none."""
    doc: str
    read: Callable[[str], Value]
    of_vm: bool = False
    """Whether a VM may say otherwise for its own disks."""


def _text(text: str) -> str:
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _flag(text: str) -> bool:
    flag = boolean(text)
    if flag is None:
        raise ValueError("must be YES or NO")
    return flag


def _seconds(text: str, least: int = 1) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not least <= int(text) <= _DAY:
        raise ValueError(f"must be a whole number of seconds from {least} to {_DAY}")
    return int(text)


def _seconds_or_none(text: str) -> int:
    return _seconds(text, least=0)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= _MOST_SNAPSHOTS:
        raise ValueError(f"must be a whole number from 1 to {_MOST_SNAPSHOTS}")
    return int(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
        return text.lower()

    return read


def _clone_mode(text: str) -> str:
    return FORMER_CLONE_MODES.get(text.lower()) or _one_of("auto", "dependent", "independent")(text)


def _resource_group(text: str) -> str:
    if _RESOURCE_GROUP.match(text) is None:
        raise ValueError("is not a name that a LINSTOR resource group can have")
    return text


def _instance(text: str) -> str:
    if _INSTANCE.match(text) is None:
        raise ValueError("must have 1 to 32 letters, digits, dots, dashes or underscores")
    return text


def _rate(text: str) -> str:
    if _RATE.match(text) is None:
        raise ValueError("must be bytes per second, such as 512k or 10m")
    return text


def _directory(path: str) -> str:
    if not path.startswith("/") or any(character.isspace() for character in path):
        raise ValueError("must be an absolute path without blanks")
    return path


def _file(path: str, forbidden: int = 0) -> str:
    """A file that can be read and is not empty; ``forbidden`` are permission bits that it must not have."""
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    try:
        with open(path, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            first = stream.read(1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not first:
        raise ValueError("is empty")
    if stat.S_IMODE(mode) & forbidden:
        raise ValueError(f"may be read by others (mode {stat.S_IMODE(mode):04o}); chmod 0600 it")
    return path


def _key_file(path: str) -> str:
    return _file(path, forbidden=0o007)


def _token_file(path: str) -> str:
    return _file(path, forbidden=0o077)


ATTRIBUTES = (
    Attribute(
        "LINSTOR_RESOURCE_GROUP",
        "resource_group",
        "name",
        "",
        "LINSTOR resource group that decides where and how often volumes are stored. Required.",
        _resource_group,
    ),
    Attribute(
        "LINSTOR_CONTROLLERS",
        "controllers",
        "controllers",
        "",
        "Controllers, separated by commas: HOST, HOST:PORT, or linstor+ssl://HOST[:PORT] for TLS. Without it "
        "those of LINSTOR's own client: LS_CONTROLLERS, /etc/linstor/linstor-client.conf, localhost.",
        normalise,
    ),
    Attribute(
        "LINSTOR_CA_FILE",
        "ca_file",
        "file",
        "",
        "Certificates of the authorities that sign for the controllers; else those of the system.",
        _file,
    ),
    Attribute(
        "LINSTOR_CERT_FILE",
        "cert_file",
        "file",
        "",
        "Certificate with which the driver identifies itself.",
        _file,
    ),
    Attribute(
        "LINSTOR_KEY_FILE",
        "key_file",
        "file",
        "",
        "Private key of LINSTOR_CERT_FILE, closed to other users.",
        _key_file,
    ),
    Attribute(
        "LINSTOR_TOKEN_FILE",
        "token_file",
        "file",
        "",
        "File with the token for the controllers, of mode 0600. It is sent over TLS only.",
        _token_file,
    ),
    Attribute(
        "LINSTOR_TLS_VERIFY",
        "tls_verify",
        "boolean",
        "YES",
        "Whether the controllers' certificates are verified.",
        _flag,
    ),
    Attribute(
        "LINSTOR_CONNECT_TIMEOUT",
        "connect_timeout",
        "seconds",
        "5",
        "How long a controller may take to accept a connection before the next one is tried.",
        _seconds,
    ),
    Attribute(
        "LINSTOR_TIMEOUT", "timeout", "seconds", "300", "How long a controller may take to answer.", _seconds
    ),
    Attribute(
        "LINSTOR_SSH_TIMEOUT",
        "ssh_timeout",
        "seconds",
        "10",
        "How long a host may take to accept a connection.",
        _seconds,
    ),
    Attribute(
        "LINSTOR_ATTACH_TIMEOUT",
        "attach_timeout",
        "seconds",
        "30",
        "How long a device may take to appear on a host after LINSTOR has made it available there.",
        _seconds,
    ),
    Attribute(
        "LINSTOR_CLONE_TIMEOUT",
        "clone_timeout",
        "seconds",
        "3600",
        "How long LINSTOR may copy a volume.",
        _seconds,
    ),
    Attribute(
        "LINSTOR_CAPACITY_CACHE",
        "capacity_cache",
        "seconds",
        "60",
        "How old LINSTOR's figures on free space may be in monitoring; 0 asks the storage every time.",
        _seconds_or_none,
    ),
    Attribute(
        "LINSTOR_MOVE_DATA",
        "move_data",
        "boolean",
        "NO",
        "Whether the data of a volatile disk moves to the storage pools of this system datastore's resource group when "
        "its VM comes from another one; else only missing replicas are added.",
        _flag,
    ),
    Attribute(
        "LINSTOR_INSTANCE",
        "instance",
        "name",
        "one",
        "Name of this OpenNebula; set it when several of them share a LINSTOR cluster.",
        _instance,
    ),
    Attribute(
        "LINSTOR_ALLOW_SHAREABLE",
        "allow_shareable",
        "boolean",
        "NO",
        "Whether images with PERSISTENT_TYPE=SHAREABLE may be attached to several VMs at once; two hosts then "
        "write to one volume at the same time, which only a cluster file system survives.",
        _flag,
    ),
    Attribute(
        "LINSTOR_CLONE_MODE",
        "clone_mode",
        "choice",
        "auto",
        "Whether copies on ZFS may share blocks with their original: dependent (all), independent (none), auto "
        "(disks of VMs). Other storage has one kind of copy only.",
        _clone_mode,
    ),
    Attribute(
        "LINSTOR_FSFREEZE",
        "fsfreeze",
        "boolean",
        "YES",
        "Whether the guest agent freezes the file systems while a snapshot or a copy of a running VM's disk is taken.",
        _flag,
        of_vm=True,
    ),
    Attribute(
        "LINSTOR_SNAPSHOT_LIMIT",
        "snapshot_limit",
        "number",
        "",
        "How many snapshots a disk may have, from 1 to 10000; without it there is no limit.",
        _limit,
        of_vm=True,
    ),
    Attribute(
        "LINSTOR_EXPORT_FORMAT",
        "export_format",
        "choice",
        "qcow2",
        "Format of images that are exported to a marketplace: qcow2 or raw.",
        _one_of("qcow2", "raw"),
    ),
    Attribute(
        "BRIDGE_LIST",
        "bridge_list",
        "list",
        "",
        "Hosts on which images may be written, separated by blanks.",
        _words,
    ),
    Attribute(
        "STAGING_DIR", "staging_dir", "directory", "/var/tmp", "Directory for temporary files.", _directory
    ),
    Attribute(
        "RESTRICTED_DIRS", "restricted_dirs", "list", "", "Directories from which no image is made.", _words
    ),
    Attribute(
        "SAFE_DIRS", "safe_dirs", "list", "", "Directories that are exempt from RESTRICTED_DIRS.", _words
    ),
    Attribute(
        "NO_DECOMPRESS",
        "no_decompress",
        "boolean",
        "NO",
        "Whether compressed images stay as they are.",
        _flag,
    ),
    Attribute(
        "LIMIT_TRANSFER_BW",
        "limit_transfer_bw",
        "rate",
        "",
        "Bytes per second of a download, such as 512k or 10m.",
        _rate,
    ),
)

DEPRECATED = {
    "LINSTOR_AUTO_PLACE": "--place-count",
    "LINSTOR_STORAGE_POOL": "--storage-pool",
    "LINSTOR_DEPLOYMENT_NODES": "--node-list",
}
"""Attributes of addon-linstor 1.x, which 2.0 and 3.x leave without effect, and the option of ``linstor
resource-group create`` that says the same."""
