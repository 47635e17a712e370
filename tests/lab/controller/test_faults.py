# SPDX-License-Identifier: Apache-2.0
"""Guide 7.4: misfortune at the REST boundary and behind it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable

import pytest

from lab.controller import Cluster, ControllerServer, StandbyServer, faults

from .support import Rest

GONE = (ConnectionError, http.client.RemoteDisconnected)


def _exists(connect: Callable[..., Rest], server: ControllerServer, name: str = "vm-1") -> bool:
    return bool(connect(server).call("GET", f"resource-definitions/{name}").status == 200)


def test_failure_before_the_effect(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    server.faults.add(faults.FAIL_BEFORE, method="POST", path="/spawn$")
    with pytest.raises(GONE):
        connect(server).spawn("vm-1")
    assert not _exists(connect, server)
    assert connect(server).spawn("vm-1").status == 201


def test_effect_with_the_reply_lost(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    server.faults.add(faults.LOSE_REPLY, path="/spawn$")
    with pytest.raises(GONE):
        connect(server).spawn("vm-1")
    assert _exists(connect, server)
    assert server.requests[0].status == 0


@pytest.mark.parametrize(("action", "effect"), [(faults.HANG, False), (faults.HANG_AFTER, True)])
def test_hang(server: ControllerServer, connect: Callable[..., Rest], action: str, effect: bool) -> None:
    server.faults.add(action, path="/spawn$")
    with pytest.raises(socket.timeout):
        connect(server, timeout=0.2).spawn("vm-1")
    assert _exists(connect, server) == effect


def test_the_nth_request(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    fault = server.faults.add(faults.UNAVAILABLE, path="/v1/nodes", nth=3, times=2)
    rest = connect(server)
    assert [rest.call("GET", "nodes").status for _ in range(6)] == [200, 200, 503, 503, 200, 200]
    assert (fault.seen, fault.hits) == (6, 2)


def test_proxy_page_and_unauthorized(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    server.faults.add(faults.UNAVAILABLE, method="GET")
    server.faults.add(faults.UNAUTHORIZED, method="PUT")
    rest = connect(server)
    page = rest.call("GET", "nodes")
    assert (page.status, b"<html>" in page.json) == (503, True)
    refused = rest.put("nodes/alice", {"override_props": {"Aux/a": "1"}})
    assert refused.problem == (401, "E412")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Aux/a" not in rest.get("nodes/alice")["props"]


@pytest.mark.parametrize(("action", "effect"), [(faults.CALL_BEFORE, False), (faults.CALL_AFTER, True)])
def test_killing_the_client_at_a_moment(
    cluster: Cluster, server: ControllerServer, action: str, effect: bool
) -> None:
    """A real process is killed before, or after, its request takes effect; it reads no reply."""
    program = (
        "import http.client,sys;c=http.client.HTTPConnection(sys.argv[1]);"
        "c.request('POST','/v1/resource-definitions','{\"resource_definition\":{\"name\":\"vm-1\"}}');"
        "print(c.getresponse().status)"
    )
    child: list[subprocess.Popen[bytes]] = []
    states: list[bool] = []

    def kill(_method: str, _path: str) -> None:
        states.append("VM-1" in cluster.rds)
        os.kill(child[0].pid, signal.SIGKILL)
        child[0].wait()

    server.faults.add(action, method="POST", callback=kill)
    child.append(
        subprocess.Popen(
            [sys.executable, "-S", "-c", program, f"{server.host}:{server.port}"], stdout=subprocess.PIPE
        )
    )
    assert child[0].communicate()[0] == b""
    assert child[0].returncode == -signal.SIGKILL
    assert states == [effect]


def test_silent_server_and_latency(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    server.faults.latency = 0.1
    rest = connect(server)
    begin = time.monotonic()
    rest.get("nodes")
    assert time.monotonic() - begin >= 0.1
    server.faults.clear()
    server.faults.silent = True
    with pytest.raises(socket.timeout):
        connect(server, timeout=0.1).get("nodes")
    server.faults.clear()
    assert connect(server).get("nodes")


def test_restart_keeps_port_and_database(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    rest = connect(server)
    rest.spawn("vm-1")
    url = server.url
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        connect(server).get("nodes")
    with pytest.raises((OSError, http.client.HTTPException)):
        rest.get("nodes")
    server.start()
    assert server.url == url
    assert _exists(connect, server)


@pytest.mark.parametrize("mode", ["refuse", "unavailable", "silent"])
def test_standby(mode: str) -> None:
    with StandbyServer(mode) as standby:
        connection = http.client.HTTPConnection(standby.host, standby.port, timeout=0.2)
        if mode == "refuse":
            with pytest.raises(ConnectionRefusedError):
                connection.request("GET", "/health")
        elif mode == "silent":
            connection.request("GET", "/health")
            with pytest.raises(socket.timeout):
                connection.getresponse()
        else:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 503
        connection.close()


def test_unknown_faults_are_refused(server: ControllerServer) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        server.faults.add("nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        StandbyServer("nonsense")


def test_a_slow_satellite_delays_what_asks_it(cluster: Cluster, rest: Rest) -> None:
    """Guide 2.3, 2.8: live views wait for it, the cached one and resources of other nodes do not."""
    rest.spawn("vm-1")
    cluster.satellites.set_delay("bob", 0.15)

    def seconds(path: str) -> float:
        begin = time.monotonic()
        rest.get(path)
        return time.monotonic() - begin

    assert seconds("view/storage-pools") >= 0.15
    assert seconds("view/resources?resources=vm-1") >= 0.15
    assert seconds("resource-definitions/vm-1/resources/bob/volumes/0") >= 0.15
    quick = (
        "view/storage-pools?cached=true",
        "view/storage-pools?nodes=alice",
        "resource-definitions/vm-1/resources",
        "resource-definitions/vm-1/resources/bob",
        "view/resources?resources=vm-1&nodes=alice",
    )
    assert all(seconds(path) < 0.15 for path in quick)


def test_a_hung_satellite_blocks_until_released(
    cluster: Cluster, server: ControllerServer, connect: Callable[..., Rest]
) -> None:
    """Guide 7.4: others are served meanwhile."""
    cluster.satellites.set_hung("bob", True)
    done: list[Any] = []
    waiting = threading.Thread(target=lambda: done.append(connect(server).spawn("vm-1").status))
    waiting.start()
    waiting.join(0.2)
    assert done == []
    assert connect(server).get("nodes/alice")["name"] == "alice"
    cluster.satellites.set_hung("bob", False)
    waiting.join(5)
    assert done == [201]


def test_a_defect_of_the_simulator_is_an_error_report(
    cluster: Cluster, server: ControllerServer, rest: Rest
) -> None:
    """A test that drives it into a corner sees a reply with a report, not a dead connection."""
    rest.spawn("vm-1")
    del cluster.rgs["ONE"]
    answer = rest.make_available("vm-1", "charlie", diskful=True)
    assert answer.problem == (500, "E998")
    report = rest.get(f"error-reports/{answer.json[0]['error_report_ids'][0]}")[0]
    assert "KeyError" in report["text"]


def test_threads_share_the_cluster(server: ControllerServer, connect: Callable[..., Rest]) -> None:
    """One lock: parallel creations of the same name succeed exactly once, different ones all."""
    statuses: list[int] = []

    def work(number: int) -> None:
        rest = connect(server)
        statuses.append(rest.spawn("same").status)
        rest.spawn(f"vm-{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(statuses) == [201] + [500] * 7
    paths = {
        volume["device_path"] for one in connect(server).get("view/resources") for volume in one["volumes"]
    }
    assert len(paths) == 9
