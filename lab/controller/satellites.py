# SPDX-License-Identifier: Apache-2.0
"""What the controller knows of its satellites' reactions: failures, error reports, slowness."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.controller.codes import UNKNOWN_ERROR, Reply
from lab.controller.locking import locked
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


@dataclass
class _Failure:
    node: str
    operation: str
    message: str
    times: int


@dataclass
class ErrorReport:
    node_name: str
    error_time: int
    filename: str
    text: str
    exception: str = "StorageException"

    @property
    def id(self) -> str:
        return self.filename[len("ErrorReport-") : -len(".log")]


@dataclass
class _Slowness:
    seconds: dict[str, float] = field(default_factory=dict)
    hung: dict[str, threading.Event] = field(default_factory=dict)


class Satellites:
    """Failures to come, reports of those that came, and how long satellites take to answer.

    Slowness is served outside of the cluster's lock: a request first takes effect, then waits for the
    satellites that it asked.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.reports: list[ErrorReport] = []
        self._failures: list[_Failure] = []
        self._slowness = _Slowness()
        self._asked = threading.local()

    @locked
    def fail(self, node: str, operation: str, message: str, times: int = 1) -> None:
        """Let the next operations on the node fail.

        "create", "restore", "delete", "resize" (the storage), "drbd-resize", "clone", "rollback" (within ZFS),
        "snapshot", "snapshot-disconnect" (the satellite is lost while it takes one), "snapshot-delete".
        "restore-refused": the controller finds, before it asks any satellite, that a snapshot does not fit into
        the pool of the node.
        """
        self._failures.append(_Failure(key(node), operation, message, times))

    def take_failure(self, node: str, operation: str) -> str:
        """Message of the failure that is due, or an empty string."""
        for planned in self._failures:
            if planned.node == key(node) and planned.operation == operation and planned.times > 0:
                planned.times -= 1
                return planned.message
        return ""

    def fault(self, node: str, message: str, reply: Reply, code: int = UNKNOWN_ERROR) -> None:
        """Say in a reply what a satellite failed at, with the id of its report."""
        report = self.report(node, message)
        reply.error(code, f"({node}) {message}", error_report_ids=[report], refs={"Node": node})

    def report(self, node: str, message: str) -> str:
        """File an error report; answers its id as replies show it."""
        number = len(self.reports)
        name = f"ErrorReport-66F0A1B2-{zlib.crc32(key(node).encode()) % 0xFFFFF:05X}-{number:06d}.log"
        self.reports.append(
            ErrorReport(
                node_name=node,
                error_time=self.cluster.now_ms(),
                filename=name,
                text=f"ERROR REPORT {name}\n\nNode: {node}\nError message: {message}\n",
            )
        )
        return name[: -len(".log")]

    @locked
    def list_reports(
        self, node: str = "", since: int = 0, to: int = 0, content: bool = False
    ) -> list[dict[str, Any]]:
        chosen = [
            one
            for one in self.reports
            if (not node or key(one.node_name) == key(node))
            and one.error_time >= since
            and (not to or one.error_time <= to)
        ]
        return [self._report_json(one, content) for one in chosen]

    @locked
    def find_report(self, name: str) -> list[dict[str, Any]]:
        wanted = name[len("ErrorReport-") :] if name.startswith("ErrorReport-") else name
        return [self._report_json(one, True) for one in self.reports if one.id == wanted]

    @staticmethod
    def _report_json(one: ErrorReport, content: bool) -> dict[str, Any]:
        body = {
            "node_name": one.node_name,
            "error_time": one.error_time,
            "filename": one.filename,
            "module": "SATELLITE",
            "exception": one.exception,
        }
        return {**body, "text": one.text} if content else body

    def set_delay(self, node: str, seconds: float) -> None:
        """Each request that asks this satellite takes so much longer."""
        self._slowness.seconds[key(node)] = seconds

    def set_hung(self, node: str, hung: bool) -> None:
        """Requests that ask this satellite are not answered until it is released."""
        if hung:
            self._slowness.hung.setdefault(key(node), threading.Event())
        else:
            event = self._slowness.hung.pop(key(node), None)
            if event:
                event.set()

    def ask(self, nodes: Iterable[str]) -> None:
        """Note that the current request needs an answer of these nodes' satellites."""
        asked: set[str] = getattr(self._asked, "nodes", set())
        asked.update(key(node) for node in nodes)
        self._asked.nodes = asked

    def begin(self) -> None:
        """A request starts in this thread."""
        self._asked.nodes = set()

    def wait(self, closing: threading.Event) -> None:
        """Wait for the satellites that this thread's request asked, or until ``closing`` is set."""
        asked: set[str] = getattr(self._asked, "nodes", set())
        online = {one for one in asked if one in self.cluster.nodes and self.cluster.nodes[one].online}
        seconds = max((self._slowness.seconds.get(node, 0.0) for node in online), default=0.0)
        if seconds:
            closing.wait(seconds)
        for node in online:
            event = self._slowness.hung.get(node)
            while event and not event.wait(0.05) and not closing.is_set():
                pass
