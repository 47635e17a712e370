# SPDX-License-Identifier: Apache-2.0
"""``python3 -m lab.demo``: a life of two VMs on the real executables. Fails when a check fails."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lab import interrupts
from lab.cloud import HOSTS, Cloud
from lab.controller.codes import ApiError
from lab.demo.story import Story
from lab.demo.telling import StoryEnded, Teller
from lab.hosts import loops
from lab.one import OneError
from lab.one.install import CHECKOUT
from lab.terminal import make_console


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab.demo", description=__doc__)
    parser.add_argument(
        "--drivers",
        type=Path,
        default=CHECKOUT,
        help="directory whose datastore/ and tm/ hold the executables (default: this checkout)",
    )
    options = parser.parse_args(arguments)
    interrupts.raise_once()
    began = time.monotonic()
    cloud = Cloud(drivers=options.drivers.resolve())
    teller = Teller(make_console(), shorten(cloud))
    try:
        try:
            cloud.start()
            introduce(cloud, teller)
            Story(cloud, teller).tell()
        except (StoryEnded, OneError, ApiError, OSError, LookupError) as end:
            teller.check("the story goes on", False, f"{end}")
        finally:
            interrupts.ignore()
            cloud.stop()
    except KeyboardInterrupt:
        teller.title("Interrupted; everything is taken down.")
        return interrupts.EXIT_STATUS
    still = [str(cloud.root)] if cloud.root.exists() else []
    still += loops.attached(cloud.root / "contents")
    teller.check("the lab is gone: no directory, no loop device", not still, ", ".join(still))
    teller.end(time.monotonic() - began)
    return 1 if teller.failed else 0


def shorten(cloud: Cloud) -> list[tuple[str, str]]:
    """Long paths of this lab and what stands for them on the screen."""
    var = str(cloud.root / "one" / "var")
    return [
        (f"{var}//datastores", "DS"),
        (f"{var}/datastores", "DS"),
        (f"{var}/vms", "VMS"),
        (str(cloud.images_dir), "~"),
        (str(cloud.root), "LAB"),
    ]


def introduce(cloud: Cloud, teller: Teller) -> None:
    teller.title("OpenNebula with LINSTOR storage, on this machine")
    teller.say(
        f"OpenNebula {cloud.one.version} (stand-in), LINSTOR REST {cloud.cluster.rest_version_text} (simulator)"
    )
    teller.say(
        f"hosts {', '.join(HOSTS)}; dave has no storage. Devices: {cloud.hosts.mode}. The drivers are real."
    )
    teller.say("Behind each call: wall time, requests to the controller, bytes of its answers, bytes by ssh.")
    teller.say(f"tm/clone is remotes/tm/linstor/clone, DS is {cloud.one.tree.datastore_location}.")


if __name__ == "__main__":
    sys.exit(main())
