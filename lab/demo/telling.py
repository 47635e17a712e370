# SPDX-License-Identifier: Apache-2.0
"""How the story looks: steps, driver calls with their cost, the map, checks."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lab.counting import Cost
from lab.one import Call
from lab.terminal import amount, show

INDENT = 3
FIGURE_WIDTHS = (6, 6, 6, 10)
DOCUMENT = 1000
"""Characters from which on an argument is nothing to read."""


class StoryEnded(Exception):
    """The story can not go on; the text is what the user of OpenNebula reads."""


class Teller:
    """Prints and counts; ``failed`` holds the checks that did not hold."""

    def __init__(self, console: Console, shorten: Iterable[tuple[str, str]] = ()) -> None:
        self.console = console
        self.checks = 0
        self.failed: list[str] = []
        self._steps = 0
        self._shorten = list(shorten)

    def title(self, text: str) -> None:
        self._print(Text(text, "bold"), 0)

    def say(self, text: str) -> None:
        self._print(Text(text))

    def step(self, what: str, *commands: str) -> None:
        """A heading; ``commands`` are what a person would have typed."""
        self._steps += 1
        self._print()
        self._print(Text.assemble((f"{self._steps:>2} ", "bold cyan"), (what, "bold")), 0)
        for command in commands:
            self._print(Text(f"$ {self.short(command)}", "dim"))

    def calls(self, taken: Iterable[tuple[Call, Cost]]) -> None:
        """What OpenNebula called: executable, arguments, time, requests to the controller, bytes."""
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column(overflow="fold")
        for width in FIGURE_WIDTHS:
            table.add_column(justify="right", no_wrap=True, min_width=width)
        rows, total = 0, Cost()
        for call, cost in taken:
            mark = "" if call.ok else f"  -> exit {call.rc}"
            name = call.name.replace("/linstor/", "/")
            arguments = " ".join(
                self.short(one) if len(one) < DOCUMENT else "<document>" for one in call.argv
            )
            words = Text(f"{name} {arguments}{mark}", "" if call.ok else "yellow")
            table.add_row(words, *_figures(cost))
            rows, total = rows + 1, total + cost
        if rows > 1:
            table.add_row(Text("together", "dim"), *(Text(one, "dim") for one in _figures(total)))
        self._print(table)

    def show(self, table: Table) -> None:
        self._print(table)

    def error(self, text: str) -> None:
        """An error as the user of OpenNebula sees it."""
        self._print(Text(f"! {self.short(text)}", "yellow"))

    def check(self, claim: str, holds: bool, found: str = "") -> None:
        """``found`` is printed when the claim does not hold."""
        self.checks += 1
        if holds:
            self._print(Text.assemble(("ok", "green"), f"      {claim}"))
            return
        self.failed.append(claim)
        tail = f" ({self.short(found)})" if found else ""
        self._print(Text(f"FAILED  {claim}{tail}", "bold red"))

    def end(self, seconds: float) -> None:
        """The last line."""
        self._print()
        if self.failed:
            text = f"{len(self.failed)} of {self.checks} checks FAILED, {seconds:.1f} s"
            self._print(Text(text, "bold red"), 0)
        else:
            self._print(Text(f"All {self.checks} checks hold, {seconds:.1f} s.", "bold green"), 0)

    def _print(self, what: RenderableType = " ", indent: int = INDENT) -> None:
        show(self.console, what, indent)

    def short(self, text: str) -> str:
        for long, brief in self._shorten:
            text = text.replace(long, brief)
        return text


def _figures(cost: Cost) -> tuple[str, str, str, str]:
    return (
        f"{cost.seconds:.2f} s",
        f"{cost.requests} req" if cost.requests else "",
        amount(cost.received) if cost.requests else "",
        f"ssh {amount(cost.copied)}" if cost.ssh else "",
    )
