# SPDX-License-Identifier: Apache-2.0
"""Undoing the finished steps of an operation that fails in a later one."""

from __future__ import annotations

from types import TracebackType
from typing import Callable


class Undo:
    """A stack of undo steps.

    Leaving the ``with`` block by an exception runs them, last first.  A step that fails is reported and does not keep
    the others from running, nor does it hide the error that started it all.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, step: Callable[[], object]) -> None:
        """``what`` names what stays behind if the step fails."""
        self._steps.append((what, step))

    def commit(self) -> None:
        """What was done up to now stays, whatever happens later."""
        self._steps.clear()

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        while self._steps:
            what, step = self._steps.pop()
            try:
                step()
            except Exception as failure:  # noqa: BLE001 - the steps before it have to be undone all the same
                self._report(f"left behind: {what}: {failure}")
