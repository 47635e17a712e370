# SPDX-License-Identifier: Apache-2.0
"""Name rules. Names keep their spelling and compare in upper case."""

from __future__ import annotations

import re

from lab.controller import codes
from lab.controller.codes import Reply

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = ("ALL", "PROXY")
_MAX = 48


def key(name: str) -> str:
    """Identity of a name."""
    return name.upper()


def _valid(name: str, shortest: int) -> bool:
    return (
        shortest <= len(name) <= _MAX
        and _NAME.fullmatch(name) is not None
        and any(char.isalpha() for char in name)
    )


def _check(reply: Reply, name: str, code: int, what: str, shortest: int = 2) -> None:
    if not _valid(name, shortest):
        raise reply.fail(
            code,
            f"'{name}' is not a valid {what} name.",
            cause=f"{shortest} to {_MAX} of A-Z a-z 0-9 _ - are allowed, first a letter or _.",
        )


def check_resource(reply: Reply, name: str) -> None:
    """Raises 202."""
    _check(reply, name, codes.INVLD_RSC_NAME, "resource")
    if key(name) in _RESERVED:
        raise reply.fail(codes.INVLD_RSC_NAME, f"'{name}' cannot name a resource: the word is reserved.")


def check_snapshot(reply: Reply, name: str) -> None:
    """Raises 218."""
    _check(reply, name, codes.INVLD_SNAPSHOT_NAME, "snapshot")


def check_group(reply: Reply, name: str) -> None:
    """Raises 237."""
    _check(reply, name, codes.INVLD_RSC_GRP_NAME, "resource group")


def check_pool(reply: Reply, name: str) -> None:
    """Raises 208."""
    _check(reply, name, codes.INVLD_STOR_POOL_NAME, "storage pool", shortest=3)
