# SPDX-License-Identifier: Apache-2.0
"""LINSTOR's reply entries, and which error each failure becomes.

REST guide 1.4: ``ret_code`` is a signed 64-bit mask.  Its kind (two highest bits) and code (15 lowest) are
compared as values: python-linstor's ``is_error(code)`` tests for contained bits and so takes 301 for 300.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import linstor

from linstor_helper.errors import (
    CannotSnapshot,
    ConfigError,
    ConflictError,
    ControllerError,
    ControllerUnavailable,
    Error,
    InUseError,
    NoSpaceError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    UnknownOutcome,
    UsageError,
    one_line,
)

ERROR, WARNING, INFO = 3, 2, 1

INVALID_SIZE = 206
CANNOT_CLONE = 227
NOT_FOUND_NODE = 300
NOT_FOUND_DEFINITION = 301
NOT_FOUND_RESOURCE = 302
NOT_FOUND_POOL = 310
HAS_SNAPSHOTS = 514
KEPT_BY_SNAPSHOTS = 516
UNKNOWN = 998
W_NOT_FOUND = 3000

# warnings that tell of a state which was wanted anyway: 1006 placed already, 1007 has a disk, 1008 is
# diskless, 1023 same size, 3000 not there, 3001 no effect
_EXPECTED_WARNINGS = frozenset({1006, 1007, 1008, 1023, W_NOT_FOUND, 3001})

# REST guide 1.5 and the constants of python-linstor; a later row wins over an earlier one
_CLASSES: tuple[tuple[type[Error], Iterable[int]], ...] = (
    (ControllerError, (100, 101)),
    (RefusedError, range(200, 245)),
    (InUseError, (233,)),
    (NotReadyError, (243,)),
    (NotFoundError, range(300, 324)),
    (NotReadyError, (312,)),
    (RefusedError, range(400, 425)),
    (ConfigError, (412,)),
    (ConflictError, range(500, 529)),
    (NotReadyError, (525,)),
    (ControllerError, (521, *range(600, 612))),
    (NotReadyError, (609,)),
    (ConflictError, range(700, 712)),
    (ControllerError, range(800, 808)),
    (NotReadyError, (900, 901, 970, 971, 973, 974, 975, 979, 982, 984, 992, 995)),
    (NoSpaceError, (980, 985, 996)),
    (RefusedError, (972, 981, 983, 988, 989, 991, 993)),
    # 977: newer snapshots are in the way of a rollback
    (ConflictError, (977,)),
    (CannotSnapshot, (994,)),
    (ControllerError, (976, 978, 986, 987, 990, UNKNOWN, 999)),
    (InUseError, (997,)),
    # failed sign-in, and the three codes of a request that the server did not understand
    (ConfigError, (10000, 10001, 0x7FFE)),
    (ControllerError, (0x7FFF, 0x7FFD)),
)
BY_CODE: dict[int, type[Error]] = {code: kind for kind, codes in _CLASSES for code in codes}

BY_EXCEPTION: dict[type[Exception], type[Error]] = {
    linstor.LinstorError: ControllerError,
    linstor.LinstorApiCallError: ControllerError,
    linstor.LinstorArgumentError: UsageError,
    linstor.LinstorReadOnlyAfterSetError: UsageError,
    linstor.LinstorNetworkError: ControllerUnavailable,
    linstor.LinstorTimeoutError: UnknownOutcome,
}

NOTHING: Mapping[str, str] = {}

_NO_ROOM = "see `linstor storage-pool list` and the constraints of the resource group"
_HINTS: dict[int, str] = {
    317: "check LINSTOR_RESOURCE_GROUP of the datastore; see `linstor resource-group list`",
    980: _NO_ROOM,
    985: _NO_ROOM,
    996: _NO_ROOM,
    412: "check LINSTOR_TOKEN_FILE, and that LINSTOR_CONTROLLERS names linstor+ssl:// addresses",
    982: "Enter the master passphrase: linstor encryption enter-passphrase",
}


class Entry(NamedTuple):
    """One entry of a reply; ``details`` holds LINSTOR's cause and details, ``refs`` the names it is about."""

    kind: int
    code: int
    message: str
    details: str = ""
    correction: str = ""
    reports: tuple[str, ...] = ()
    refs: Mapping[str, str] = {}

    @property
    def text(self) -> str:
        return one_line(f"{self.message} {self.details}")


def decode(raw: Mapping[str, Any]) -> Entry:
    """Absent optional fields are normal (REST guide 1.1)."""
    number = int(raw["ret_code"]) & (2**64 - 1)
    message = one_line(raw.get("message") or "")
    told = (one_line(raw.get(name) or "").rstrip(".") for name in ("cause", "details"))
    return Entry(
        number >> 62,
        number & 0x7FFF,
        message,
        ". ".join(text for text in told if text and text not in message),
        one_line(raw.get("correction") or ""),
        tuple(raw.get("error_report_ids") or ()),
        raw.get("obj_refs") or {},
    )


def is_reply(data: Any) -> bool:
    """Whether JSON of a controller is a list of entries, and not of objects."""
    return isinstance(data, list) and bool(data) and "ret_code" in data[0]


def entries(data: Any) -> list[Entry]:
    """The entries of a reply: a list, or the ``messages`` of a clone's object."""
    if isinstance(data, dict):
        data = data.get("messages") or []
    return [decode(one) for one in data]


def first_error_code(found: Iterable[Entry]) -> int:
    """The code of the error that decides the HTTP status, 0 when there is none."""
    return next((one.code for one in found if one.kind == ERROR), 0)


def failure(
    found: Iterable[Entry],
    about: Mapping[str, str] = NOTHING,
    classes: Mapping[int, type[Error]] = BY_CODE,
) -> Error | None:
    """The error that a reply tells of, or None.

    The first error leads, as it decides the HTTP status; what the others say is kept.  ``about`` names the
    objects of the call by their kind, for messages that do not.
    """
    errors = [one for one in found if one.kind == ERROR]
    if not errors:
        return None
    first = errors[0]
    what = first.message or f"LINSTOR error {first.code}"
    names = {**about, **({"node": first.refs["Node"]} if first.refs.get("Node") else {})}
    unnamed = [f"{kind} {name}" for kind, name in names.items() if name.upper() not in what.upper()]
    if unnamed:
        what = f"{what.rstrip('.')} ({', '.join(unnamed)})"
    details = [first.details, *(one.text for one in errors[1:])]
    return classes.get(first.code, ControllerError)(
        what,
        hint=first.correction or _HINTS.get(first.code, ""),
        details=". ".join(text.rstrip(".") for text in details if text),
        reports=[report for one in errors for report in one.reports],
    )


def of_library(error: linstor.LinstorError) -> Error:
    """An exception of python-linstor itself; entries of the controller are dealt with by ``failure``."""
    kind = BY_EXCEPTION.get(type(error), ControllerError)
    return kind(f"python-linstor: {one_line(error.message)}")


def warnings(found: Iterable[Entry]) -> list[str]:
    """What the administrator should know of a call that succeeded."""
    return [one.text for one in found if one.kind == WARNING and one.code not in _EXPECTED_WARNINGS]
