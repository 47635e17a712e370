# SPDX-License-Identifier: Apache-2.0
"""Output of the lab's programs: for terminals of any kind, pipes and files."""

from __future__ import annotations

import os
import sys

from rich.console import Console, RenderableType
from rich.padding import Padding

WIDTH = 100
_UNITS = ("B", "kB", "MB", "GB")


def make_console() -> Console:
    """As wide as the terminal up to WIDTH; WIDTH in a pipe. NO_COLOR and TERM are heeded by rich."""
    console = Console(highlight=False)
    width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    return Console(highlight=False, width=width)


def show(console: Console, what: RenderableType = " ", indent: int = 0) -> None:
    """Without blanks at the ends of lines. Raises SystemExit when nobody reads on, as ``head`` does."""
    with console.capture() as captured:
        console.print(Padding(what, (0, 0, 0, indent), expand=False))
    try:
        for line in captured.get().splitlines():
            sys.stdout.write(line.rstrip() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def amount(count: int) -> str:
    """Bytes for people: two digits or three."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 10 else f"{value:.1f} {_UNITS[unit]}"
