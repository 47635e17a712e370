# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with one ssh call."""

from __future__ import annotations

import fcntl
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

KINDS = ("lose", "hang", "kill_driver", "command")
MOMENTS = ("before", "midway", "after")


@dataclass(frozen=True)
class SshFault:
    """The ``nth`` call from now on, among those to ``host`` (None: any) whose command the pattern ``match``
    finds.

    kind:
        ``lose``         the connection breaks: status 255, no output;
        ``hang``         no answer comes, ever;
        ``kill_driver``  the process that called ssh is killed (SIGKILL) at that moment;
        ``command``      the shell ``command`` runs on the front-end, then the call goes on.
    when:
        ``before`` anything happens on the host, ``after`` all has happened there (the answer is lost), or
        ``midway``: when ``at_byte`` bytes of standard input have reached the host, where the command then
        reads an end of file.
    """

    kind: str
    when: str = "before"
    nth: int = 1
    host: str | None = None
    match: str = ""
    at_byte: int | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.when not in MOMENTS:
            raise ValueError(f"no such fault: {self.kind} {self.when}")
        if (self.when == "midway") != (self.at_byte is not None):
            raise ValueError("at_byte belongs to midway, and midway needs it")
        if self.nth < 1 or (self.at_byte is not None and self.at_byte < 1):
            raise ValueError("nth and at_byte count from 1")
        re.compile(self.match)


class FaultPlan:
    """The faults that are to come, in a file that every ssh process reads and counts down."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, fault: SshFault) -> None:
        with open(self._path, "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            planned = json.loads(file.read() or "[]")
            file.truncate(0)
            file.write(json.dumps([*planned, asdict(fault)]))

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    @property
    def pending(self) -> int:
        """Faults that did not strike yet."""
        return len(json.loads(self._path.read_text())) if self._path.exists() else 0
