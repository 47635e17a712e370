# SPDX-License-Identifier: Apache-2.0
"""Samples of a small and a large cluster side by side, and what must not differ."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from lab.bench.measuring import Sample

BYTES_SLACK = 64
"""Numbers (minors, ports, capacities) have more digits in a large cluster; nothing else may grow."""

Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Row:
    """Medians of one action in one cluster; seconds."""

    wall: float
    waiting: float
    requests: int
    received: int
    peak_kib: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Row:
        def median(name: str) -> float:
            return float(statistics.median(getattr(one, name) for one in samples))

        return cls(
            median("wall"),
            median("waiting"),
            max(one.requests for one in samples),
            max(one.received for one in samples),
            max(one.peak_kib for one in samples),
        )

    @property
    def own(self) -> float:
        return self.wall - self.waiting


def table(small: Samples, large: Samples, sizes: tuple[int, int]) -> Table:
    """A row for each action, in order of the first appearance."""
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    few, many = (f"{size:,}" for size in sizes)
    made.add_column("action\n", no_wrap=True)
    for title in (
        f"wall ms\nat {few}",
        f"\nat {many}",
        "\nwaits",
        f"own ms\nat {few}",
        f"\nat {many}",
        "\nratio",
        "\nreq",
        f"bytes\nat {few}",
        f"\nat {many}",
        "peak\nMiB",
    ):
        made.add_column(title, justify="right", no_wrap=True)
    for action in small:
        first, second = Row.of(small[action]), Row.of(large[action])
        requests = str(first.requests)
        if second.requests != first.requests:
            requests += f" -> {second.requests}"
        made.add_row(
            action,
            f"{first.wall * 1000:.0f}",
            f"{second.wall * 1000:.0f}",
            f"{second.waiting / second.wall:.0%}",
            f"{first.own * 1000:.0f}",
            f"{second.own * 1000:.0f}",
            f"{second.own / first.own:.2f}",
            requests,
            str(first.received),
            str(second.received),
            f"{second.peak_kib / 1024:.0f}",
        )
    return made


def growth(small: Samples, large: Samples) -> Iterator[str]:
    """Actions whose requests or bytes depend on the number of volumes; one sentence each."""
    for action in small:
        first, second = Row.of(small[action]), Row.of(large[action])
        if first.requests != second.requests:
            yield f"{action}: {first.requests} requests became {second.requests}"
        if abs(second.received - first.received) > BYTES_SLACK:
            yield f"{action}: {first.received} bytes became {second.received}"
