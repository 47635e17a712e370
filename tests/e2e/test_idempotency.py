# SPDX-License-Identifier: Apache-2.0
"""Every action can run again: after it worked, and after it was killed at any point."""

from __future__ import annotations

import itertools
import signal
from functools import partial
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_AFTER, LOSE_REPLY
from lab.hosts.faults import SshFault
from tests.actions.tm.datastores import strike
from tests.actions.tm.support import CloudMaker
from tests.e2e import scenes
from tests.e2e.scenes import Scenes

ACTIONS: dict[str, tuple[Callable[..., Scenes], str, str]] = {
    "clone-1.25": (scenes.clone, "dave", "1.25.0"),
    "clone-1.29.1": (scenes.clone, "dave", "1.29.1"),
    "clone-copied": (scenes.clone, "dave", "1.28.0"),
    "ln": (scenes.ln, "dave", "1.28.0"),
    "mkimage": (partial(scenes.volatile, FS="ext4"), "dave", "1.28.0"),
    "mvds-1.25": (scenes.mvds, "dave", "1.25.0"),
    "mvds-1.29": (scenes.mvds, "dave", "1.29.0"),
    "delete-clone": (scenes.delete_clone, "dave", "1.28.0"),
    "cp": (scenes.cp, "", "1.28.0"),
    "mkfs": (scenes.mkfs, "", "1.28.0"),
    "clone-image-1.25": (scenes.clone_image, "", "1.25.0"),
    "clone-image-other-group": (partial(scenes.clone_image, datastore=104), "", "1.28.0"),
    "rm": (scenes.rm, "", "1.28.0"),
    "mv-1.28": (partial(scenes.mv, target="bob"), "dave", "1.28.0"),
    "mv-to-front-end": (partial(scenes.mv_to_front_end, line=0), "dave", "1.28.0"),
    "mv-directory": (partial(scenes.mv_to_front_end, line=1), "dave", "1.28.0"),
    "mv-from-front-end": (scenes.mv_from_front_end, "dave", "1.29.1"),
    "premigrate": (partial(scenes.premigrate, target="dave"), "bob", "1.28.0"),
    "postmigrate": (partial(scenes.postmigrate, target="dave"), "bob", "1.28.0"),
    "failmigrate": (partial(scenes.failmigrate, target="dave"), "bob", "1.29.1"),
}
"""Scenes, the VM's host, and the version of the controller's API."""


@pytest.mark.parametrize("name", ACTIONS)
def test_again(make_cloud: CloudMaker, name: str) -> None:
    """Twice is once; and a driver that was killed anywhere finishes when it runs again."""
    make, host, rest_version = ACTIONS[name]
    provider = "FILE_THIN" if "copied" in name else "LVM_THIN"
    cloud = make_cloud(rest_version=rest_version, provider=provider, sync_seconds=0.0)
    prepared = make(cloud, host)
    undisturbed = next(prepared)
    before = undisturbed.state()
    assert undisturbed.run().ok
    wanted = undisturbed.state()
    assert wanted != before
    repeated = undisturbed.run()
    assert (repeated.rc, repeated.stderr) == (0, "")
    assert undisturbed.state() == wanted
    struck = 0
    for plan in (*_AT_CHANGES, _before_ssh, _after_ssh):
        for nth in itertools.count(1):
            scene = next(prepared)
            plan(cloud, nth)
            killed = scene.run()
            cloud.controller.faults.clear()
            cloud.hosts.faults.clear()
            if killed.rc != -signal.SIGKILL:
                assert killed.ok
                assert scene.state() == wanted
                break
            struck += 1
            again = scene.run()
            assert (again.rc, again.stderr) == (0, ""), (plan, nth)
            assert scene.state() == wanted, (plan, nth)
    assert struck


@pytest.mark.parametrize("name", ["mv-1.28", "mv-from-front-end", "postmigrate"])
def test_again_after_a_lost_reply(make_cloud: CloudMaker, name: str) -> None:
    """The driver knows nothing of the outcome then: it looks, or fails; and a rerun finds what to do."""
    make, host, rest_version = ACTIONS[name]
    cloud = make_cloud(rest_version=rest_version)
    for store in cloud.one.inventory.datastores.values():
        store.template.update(LINSTOR_CONNECT_TIMEOUT="1", LINSTOR_TIMEOUT="1")
    prepared = make(cloud, host)
    undisturbed = next(prepared)
    assert undisturbed.run().ok
    wanted = undisturbed.state()
    for nth in itertools.count(1):
        scene = next(prepared)
        fault = cloud.controller.faults.add(LOSE_REPLY, nth=nth)
        call = scene.run()
        struck = fault.hits
        cloud.controller.faults.clear()
        assert call.ok or "LINSTOR controller" in call.user_error[:60], f"{nth}: {call.stderr}"
        assert not call.ok or scene.state()["links"] == wanted["links"], nth
        again = scene.run()
        assert (again.rc, again.stderr) == (0, ""), nth
        assert scene.state() == wanted, nth
        if not struck:
            break
    assert nth > 3


def _at_change(cloud: Cloud, nth: int, method: str) -> None:
    """Dead when the nth request of that method has had its effect; those that only look have none."""
    cloud.controller.faults.add(CALL_AFTER, method=method, nth=nth, callback=strike(cloud))


_AT_CHANGES = [partial(_at_change, method=method) for method in ("POST", "PUT", "DELETE")]


def _before_ssh(cloud: Cloud, nth: int) -> None:
    cloud.hosts.faults.add(SshFault("kill_driver", "before", nth))


def _after_ssh(cloud: Cloud, nth: int) -> None:
    cloud.hosts.faults.add(SshFault("kill_driver", "after", nth))


def test_an_import_that_was_killed_midway(cloud: Cloud) -> None:
    """The data that an unfinished copy left is not taken for an image."""
    prepared = scenes.cp(cloud, "")
    undisturbed = next(prepared)
    assert undisturbed.run().ok
    scene = next(prepared)
    cloud.hosts.faults.add(SshFault("kill_driver", "midway", at_byte=40_000))
    assert scene.run().rc == -signal.SIGKILL
    assert scene.run().ok
    assert scene.state() == undisturbed.state()
