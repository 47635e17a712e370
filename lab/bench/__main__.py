# SPDX-License-Identifier: Apache-2.0
"""``python3 -m lab.bench``: what actions cost; fails when requests or bytes grow with the number of volumes."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lab import interrupts
from lab.bench import report
from lab.bench.measuring import ActionFailed, Sample, Samples, launch, launched_drivers
from lab.bench.workload import Workload
from lab.cloud import Cloud
from lab.controller import populate
from lab.one import OneError
from lab.one.install import CHECKOUT
from lab.terminal import make_console, show

REFERENCES = {"python3 -c pass": "pass", "import linstor": "import linstor"}
REFERENCE_LOOKS = 5


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    # A loop device for each of many thousand volumes is more than a machine should be asked for.
    os.environ["LAB_DEVICES"] = "file"
    interrupts.raise_once()
    console = make_console()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            return _bench(options, Path(scratch), console)
    except (ActionFailed, OneError, OSError) as failure:
        show(console, f"FAILED  {failure}")
        return 1
    except KeyboardInterrupt:
        show(console, "Interrupted; everything is taken down.")
        return interrupts.EXIT_STATUS


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m lab.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="rounds in each cluster (default %(default)s)")
    parser.add_argument(
        "--small", type=int, default=10, help="volumes in the small one (default %(default)s)"
    )
    parser.add_argument("--large", type=int, default=10_000, help="in the large one (default %(default)s)")
    parser.add_argument(
        "--drivers",
        type=Path,
        default=CHECKOUT,
        help="directory whose datastore/ and tm/ hold the executables (default: this checkout)",
    )
    return parser.parse_args(arguments)


def _bench(options: argparse.Namespace, scratch: Path, console: Console) -> int:
    records = scratch / "records"
    drivers = launched_drivers(scratch / "drivers", options.drivers.resolve(), records)
    found = []
    for size in (options.small, options.large):
        show(console, f"{size:,} volumes, rounds: {options.rounds}")
        found.append(_measure(drivers, records, size, options.rounds))
    small, large = found
    show(console)
    show(console, report.table(small, large, (options.small, options.large)))
    show(console)
    for name, wall, peak in _references(records):
        show(console, f"{name:<16} {wall * 1000:4.0f} ms  {peak / 1024:3.0f} MiB")
    show(console, NOTES, 0)
    grown = list(report.growth(small, large))
    for sentence in grown:
        show(console, f"FAILED  {sentence}")
    if not grown:
        show(console, "ok      requests and bytes do not depend on the number of volumes")
    return 1 if grown else 0


NOTES = """
Medians; they want an idle machine. wall: from start to end of the executable. waits: share in which
the controller answers or ssh runs, by records of the lab and a start of its ssh client for each
call. own: the rest, with OpenNebula's programs that an action starts and the pauses between looks
at a clone. bytes: bodies of the controller's answers. peak: the largest process of the action.
The migrate actions serve all disks of the VM, which has four; the others one disk or directory.
Before it places a volume, the lab's controller measures all thin volumes: a wait that grows.
"""


def _measure(drivers: Path, records: Path, size: int, rounds: int) -> dict[str, list[Sample]]:
    """Samples of all rounds but the first one, which loads everything; a single round counts."""
    with Cloud(drivers=drivers, pool_gib=100 * 1024) as cloud:
        populate(cloud.cluster, size)
        samples = Samples(cloud, records)
        workload = Workload(cloud)
        for number in range(rounds):
            workload.round()
            if number == 0 and rounds > 1:
                samples.by_action.clear()
        return dict(samples.by_action)


def _references(records: Path) -> list[tuple[str, float, int]]:
    """Seconds and KiB of programs that do nothing."""
    found = []
    for name, code in REFERENCES.items():
        command = [sys.executable, "-c", code]
        looks = [launch(records, command, dict(os.environ)) for _ in range(REFERENCE_LOOKS)]
        wall = statistics.median(seconds for seconds, _ in looks)
        found.append((name, wall, max(peak for _, peak in looks)))
    return found


if __name__ == "__main__":
    sys.exit(main())
