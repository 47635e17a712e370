# SPDX-License-Identifier: Apache-2.0
"""A REST call: where it lives, what it takes, how it answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Callable

from lab.controller.cluster import Cluster


@dataclass
class Call:
    """One request. ``query`` holds all values of each parameter."""

    cluster: Cluster
    args: dict[str, Any]
    query: dict[str, list[str]] = field(default_factory=dict)
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def values(self, name: str) -> list[str]:
        return self.query.get(name, [])

    def first(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def flag(self, name: str) -> bool:
        return self.first(name).lower() == "true"

    def number(self, name: str) -> int:
        """0 for an absent or unreadable value."""
        text = self.first(name, "0")
        return int(text) if text.isdigit() else 0

    @property
    def page(self) -> tuple[int, int]:
        """(limit, offset); the offset counts only with a limit."""
        return self.number("limit"), self.number("offset")


@dataclass
class Stream:
    """Server-sent events; each item is a complete event text."""

    events: Iterator[bytes]


@dataclass(frozen=True, eq=False)
class Route:
    """``created``: success is 201. ``sync``: a bad body is 400, else 500."""

    method: str
    path: str
    call: Callable[[Call], Any]
    body: Any = None
    created: bool = False
    since: str = "1.0"
    sync: bool = False
    optional_body: bool = False
    answers_bad_body: bool = True


class Answer:
    """A JSON object with an HTTP status of its own."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body
