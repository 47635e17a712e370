# SPDX-License-Identifier: Apache-2.0
"""Reply codes: a 64-bit mask of type, operation, object and code, sent as a signed number."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

ERROR, WARNING, INFO, SUCCESS = 3, 2, 1, 0

CREATE, MODIFY, DELETE = 1 << 24, 2 << 24, 3 << 24

# objects
NODE = 0x3C0000
RSC_DFN = 0x380000
RSC = 0x340000
VLM_DFN = 0x300000
VLM = 0x2C0000
RSC_CONN = 0x240000
STOR_POOL = 0x140000
CTRL_CONF = 0x100000
SNAPSHOT = 0x0C0000
KVS = 0x400000
RSC_GRP = 0x440000
VLM_GRP = 0x480000

CREATED, DELETED, MODIFIED = 1, 2, 3

INVLD_RSC_NAME = 202
INVLD_VLM_NR = 205
INVLD_VLM_SIZE = 206
INVLD_STOR_POOL_NAME = 208
INVLD_PROP = 213
INVLD_SNAPSHOT_NAME = 218
INVLD_PLACE_COUNT = 219
INVLD_PROVIDER_MIX = 221
INVLD_LAYER_STACK = 225
INVLD_EXT_NAME = 226
INVLD_STOR_DRIVER = 227
INVLD_VLM_SIZES = 228
INVLD_REQUEST = 234
INVLD_RSC_GRP_NAME = 237
NOT_FOUND_NODE = 300
NOT_FOUND_RSC_DFN = 301
NOT_FOUND_RSC = 302
NOT_FOUND_VLM_DFN = 303
NOT_FOUND_VLM = 304
NOT_FOUND_RSC_CONN = 307
NOT_FOUND_STOR_POOL = 310
NOT_FOUND_CRYPT_KEY = 312
NOT_FOUND_SNAPSHOT_DFN = 313
NOT_FOUND_SNAPSHOT_VLM_DFN = 314
NOT_FOUND_SNAPSHOT = 315
NOT_FOUND_KVS = 316
NOT_FOUND_RSC_GRP = 317
NOT_FOUND_VLM_GRP = 318
ACC_DENIED = 412
EXISTS_RSC_DFN = 501
EXISTS_RSC = 502
EXISTS_VLM_DFN = 503
EXISTS_CRYPT_PASSPHRASE = 512
EXISTS_SNAPSHOT = 514
EXISTS_SNAPSHOT_ZFS = 516
EXISTS_EXT_NAME = 517
EXISTS_RSC_GRP = 522
EXISTS_VLM_GRP = 523
MISSING_EXT_NAME = 606
MIGRATION_RUNNING = 901
ROLLBACK_IN_PROGRESS = 971
NOT_ALL_UPTODATE = 974
EVACUATING = 975
DEPENDEND_BACKUP = 977
SNAPSHOT_NOT_UPTODATE = 979
NOT_ENOUGH_FREE_SPACE = 980
CRYPT_INIT = 982
INSUFFICIENT_REPLICA_COUNT = 991
INSUFFICIENT_PEER_SLOTS = 993
SNAPSHOTS_NOT_SUPPORTED = 994
NOT_CONNECTED = 995
NOT_ENOUGH_NODES = 996
IN_USE = 997
UNKNOWN_ERROR = 998
PARSE_ERROR = 32765

W_NOT_CONNECTED = 1002
W_ALREADY_DEPLOYED = 1006
W_ALREADY_HAS_DISK = 1007
W_ALREADY_DISKLESS = 1008
W_ALL_DISKLESS = 1009
W_NO_TIE_BREAKER_NODE = 1013
W_SAME_SIZE = 1023
W_NOT_FOUND = 3000

I_NO_RSC_SPAWNED = 10000
I_PROP_SET = 10002
I_TIE_BREAKER_CREATED = 10003
I_TIE_BREAKER_DELETING = 10004
I_PROP_REMOVED = 10005
I_TIE_BREAKER_TAKEOVER = 10006
I_RSC_ALREADY_EXISTS = 10008


def ret_code(kind: int, code: int, operation: int = 0, obj: int = 0) -> int:
    """Number on the wire: signed, so errors and warnings are negative."""
    value = (kind << 62) | operation | obj | code
    return value - (1 << 64) if value >= 1 << 63 else value


def kind_of(number: int) -> int:
    return (number & ((1 << 64) - 1)) >> 62


def code_of(number: int) -> int:
    return number & 0x7FFF


@dataclass
class Entry:
    """One element of a reply list."""

    kind: int
    code: int
    message: str
    operation: int = 0
    obj: int = 0
    cause: str = ""
    details: str = ""
    correction: str = ""
    error_report_ids: list[str] = field(default_factory=list)
    obj_refs: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Empty optional fields are left out, as everywhere in the API."""
        body: dict[str, Any] = {
            "ret_code": ret_code(self.kind, self.code, self.operation, self.obj),
            "message": self.message,
            "cause": self.cause,
            "details": self.details,
            "correction": self.correction,
            "error_report_ids": self.error_report_ids,
            "obj_refs": self.obj_refs,
            "created_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        }
        return {key: value for key, value in body.items() if value not in ("", [], {})}


class Reply:
    """The entries of one call, in order of occurrence.

    ``operation`` and ``obj`` fill the masks of every entry, as the request's context does in LINSTOR.
    """

    def __init__(self, operation: int = 0, obj: int = 0, **refs: str) -> None:
        self.operation = operation
        self.obj = obj
        self.refs = dict(refs)
        self.entries: list[Entry] = []

    def add(self, kind: int, code: int, message: str, **extra: Any) -> Entry:
        refs = {**self.refs, **extra.pop("refs", {})}
        made = Entry(kind, code, message, self.operation, self.obj, obj_refs=refs, **extra)
        self.entries.append(made)
        return made

    def success(self, code: int, message: str, **extra: Any) -> None:
        self.add(SUCCESS, code, message, **extra)

    def info(self, code: int, message: str, **extra: Any) -> None:
        self.add(INFO, code, message, **extra)

    def warning(self, code: int, message: str, **extra: Any) -> None:
        self.add(WARNING, code, message, **extra)

    def not_connected(self, node: str, details: str = "") -> None:
        """Warning 1002: stored, and applied when the satellite is back. It carries no masks."""
        made = self.add(
            WARNING,
            W_NOT_CONNECTED,
            f"Satellite '{node}' is not connected.",
            details=details or "The change is stored and takes effect when the satellite is back.",
            refs={"Node": node},
        )
        made.operation = made.obj = 0

    def error(self, code: int, message: str, **extra: Any) -> None:
        self.add(ERROR, code, message, **extra)

    def fail(self, code: int, message: str, **extra: Any) -> ApiError:
        """Error to raise: carries what was said so far."""
        self.add(ERROR, code, message, **extra)
        return ApiError(self)

    @property
    def failed(self) -> bool:
        return any(entry.kind == ERROR for entry in self.entries)

    def to_json(self) -> list[dict[str, Any]]:
        return [entry.to_json() for entry in self.entries]


class ApiError(Exception):
    """A call that ends with an error entry."""

    def __init__(self, reply: Reply) -> None:
        first = next(entry for entry in reply.entries if entry.kind == ERROR)
        super().__init__(first.message)
        self.reply = reply
        self.code = first.code


def failure(code: int, message: str, **extra: Any) -> ApiError:
    """Error without operation and object bits, as look-ups of single objects answer."""
    return Reply().fail(code, message, **extra)
