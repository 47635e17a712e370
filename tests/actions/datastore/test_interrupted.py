# SPDX-License-Identifier: Apache-2.0
"""Actions that are told to end in the middle take back what they have done."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from lab.cloud import Cloud
from lab.hosts.faults import SshFault
from lab.one import Call
from tests.actions.support import assert_nothing_left

from .conftest import Web
from .support import call, cp, image_of, write_image

MOMENTS = {
    "before-spawn": ("call_before", "POST", "/spawn$"),
    "after-spawn": ("call_after", "POST", "/spawn$"),
    "placement": ("call_before", "GET", "/view/resources$"),
    "mark": ("call_before", "PUT", "/resource-definitions/"),
}


def signal_driver(cloud: Cloud, number: signal.Signals) -> None:
    (pid,) = cloud.one.executor.running()
    os.kill(pid, number)


def assert_ended(cloud: Cloud, done: Call, number: signal.Signals = signal.SIGTERM) -> None:
    assert done.rc == 1
    assert f"the action was ended by {number.name}" in done.user_error
    assert_nothing_left(cloud)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("action", ["cp", "mkfs"])
def test_a_signal_during_a_request(cloud: Cloud, action: str, moment: str) -> None:
    when, method, path = MOMENTS[moment]

    def strike(*_request: Any) -> None:
        signal_driver(cloud, signal.SIGTERM)

    cloud.controller.faults.add(when, method=method, path=path, callback=strike)
    image = image_of(cloud, write_image(cloud.images_dir, "raw") if action == "cp" else "", fs="ext4")
    assert_ended(cloud, call(cloud, action, image))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_copy(cloud: Cloud, number: signal.Signals) -> None:
    driver = "$(ps -o ppid= -p $PPID)"
    cloud.hosts.faults.add(SshFault("command", "before", command=f"kill -{number.value} {driver}"))
    assert_ended(cloud, cp(cloud, write_image(cloud.images_dir, "raw")), number)


def test_a_signal_during_a_download(cloud: Cloud, web: Web) -> None:
    """The downloader ends with the action; nothing is left of the volume that was being filled."""
    cloud.one.inventory.datastores[100].template["LIMIT_TRANSFER_BW"] = "256k"
    cloud.hosts.faults.add(SshFault("command", "before", command="kill -TERM $(ps -o ppid= -p $PPID)"))
    done = cp(cloud, web.put("disk", os.urandom(3 << 20)), 3)
    assert_ended(cloud, done)
    assert done.seconds < 8


@pytest.mark.parametrize(
    ("when", "method", "path"),
    [
        ("call_before", "POST", "/clone$"),
        ("call_after", "POST", "/clone$"),
        ("call_before", "GET", "/clone/"),
    ],
)
def test_a_signal_while_a_clone_is_made(cloud: Cloud, when: str, method: str, path: str) -> None:
    cloud.one.image_create("os", path=write_image(cloud.images_dir, "raw"))

    def strike(*_request: Any) -> None:
        signal_driver(cloud, signal.SIGTERM)

    cloud.controller.faults.add(when, method=method, path=path, callback=strike)
    image = cloud.one.image_clone(0, "copy")
    assert "the action was ended by SIGTERM" in image.error
    assert_nothing_left(cloud, "OpenNebula-Image-0")
