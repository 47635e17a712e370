# SPDX-License-Identifier: Apache-2.0
"""Which controller of the list is used, and what is said when none serves."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import pytest

from lab.controller import ControllerServer, StandbyServer
from linstor_helper.errors import ConfigError, ControllerUnavailable, Interrupted, UnknownOutcome
from linstor_helper.linstor_api import LinstorController
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.connection import Patience
from linstor_helper.linstor_api.credentials import Credentials
from linstor_helper.linstor_api.transport import Transport

from .support import OWNER, SIZE, calls, changes, json_reply, open_controller, speaking

Serve = Callable[..., ControllerServer]
Connect = Callable[..., LinstorController]

PAGE = b"<html><body>Not here</body></html>"


NOT_LINSTOR = {
    "404 page": b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 34\r\n\r\n" + PAGE,
    "200 page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 34\r\n\r\n" + PAGE,
    "404 json": json_reply(b'{"error": "x"}', b"404 Not Found"),
    "200 json": json_reply(b'{"version": 1}'),
    "200 list": json_reply(b"[]"),
    "500 empty": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: https://192.0.2.1:3371/v1/\r\nContent-Length: 0\r\n\r\n",
    "downgrade": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/v1/\r\nContent-Length: 0\r\n\r\n",
    "nonsense": b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:x/\r\nContent-Length: 0\r\n\r\n",
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
    "bad gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "hangs up": b"",
}


@pytest.mark.parametrize("mode", ["refuse", "unavailable"])
def test_the_next_one_serves(serve: Serve, connect: Connect, mode: str) -> None:
    server = serve()
    with StandbyServer(mode) as standby:
        controller = connect(standby.url, server.url)
        assert controller.nodes()
    controller.spawn("one", "vm-1", SIZE, OWNER)
    assert calls(server) == ["GET /controller/version", "GET /nodes", "POST /resource-groups/one/spawn"]
    assert server.connections == 1


def transport_to(*urls: str, **patience: float) -> Transport:
    waits = Patience(**{"connect": 0.1, "answer": 300.0, **patience})
    return Transport([Address.parse(one) for one in urls], Credentials(), waits, [])


def test_one_that_hangs_is_left_soon(serve: Serve) -> None:
    """The time to answer a look is short, however long a change may take."""
    server = serve()
    with StandbyServer("silent") as standby:
        transport = transport_to(standby.url, server.url, shortest_look=0.3)
        started = time.monotonic()
        assert transport.raw("GET", "/nodes")
        assert 0.25 < time.monotonic() - started < 2
        transport.disconnect()


def test_a_look_gets_five_seconds_or_more() -> None:
    assert Patience(1.0, 300.0).look == 5.0
    assert Patience(8.0, 300.0).look == 8.0


def test_a_dead_host_costs_the_connect_timeout(serve: Serve, connect: Connect) -> None:
    """A listener whose queue is full lets SYNs fall, as a dead host does."""
    server = serve()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as dead:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(dead.getsockname())
        controller = connect(f"127.0.0.1:{dead.getsockname()[1]}", server.url, connect_timeout=0.3)
        started = time.monotonic()
        assert controller.nodes()
        assert 0.25 < time.monotonic() - started < 2
        for one in waiting:
            one.close()


@pytest.mark.parametrize("reply", NOT_LINSTOR.values(), ids=NOT_LINSTOR)
def test_what_is_no_controller_is_passed_over(serve: Serve, connect: Connect, reply: bytes) -> None:
    server = serve()
    with speaking(reply) as other:
        controller = connect(other.url, server.url)
        assert controller.nodes()
    assert calls(server) == ["GET /controller/version", "GET /nodes"]


def test_none_serves(serve: Serve, connect: Connect) -> None:
    with StandbyServer("refuse") as one, StandbyServer("unavailable") as two, speaking(b"") as three:
        controller = connect(one.url, two.url, three.url, "no-such-host.invalid")
        with pytest.raises(ControllerUnavailable) as failed:
            controller.spawn("one", "vm-1", SIZE, OWNER)
    assert not isinstance(failed.value, UnknownOutcome)
    assert failed.value.what.startswith(
        f"No LINSTOR controller serves: linstor://127.0.0.1:{one.port}: connection refused, "
        f"linstor://127.0.0.1:{two.port}: HTTP status 503, and not from a LINSTOR controller, "
        f"linstor://{three.url}: connection lost, linstor://no-such-host.invalid:3370: "
    )
    assert "LINSTOR_CONTROLLERS" in failed.value.hint


def test_a_server_with_an_internal_error_is_passed_over(serve: Serve, connect: Connect) -> None:
    body = b'[{"ret_code":-4611686018427386906,"message":"The database is not open"}]'
    with speaking(json_reply(body, b"500 Internal Server Error")) as other:
        controller = connect(other.url)
        with pytest.raises(ControllerUnavailable, match="The database is not open"):
            controller.nodes()


@pytest.mark.parametrize("page", ["404 page", "404 json", "500 empty"])
def test_a_service_that_took_the_place_of_the_controller(connect: Connect, page: str) -> None:
    version = json_reply(b'{"version":"1.34.0","rest_api_version":"1.28.0"}')
    with speaking(version, NOT_LINSTOR[page]) as other:
        controller = connect(other.url)
        with pytest.raises(UnknownOutcome, match="not from a LINSTOR controller"):
            controller.make_available("vm-1", "dave")
        with pytest.raises(ControllerUnavailable, match="not from a LINSTOR controller"):
            controller.resources("vm-1")


def test_the_one_that_served_stays_first(serve: Serve, connect: Connect) -> None:
    """A first controller that does not serve is paid for once per process."""
    server = serve()
    with speaking(b"") as first:
        controller = connect(first.url, server.url)
        controller.nodes()
        server.faults.add("fail_before", method="GET", path="nodes")
        controller.nodes()
        assert first.asked == 1
    assert calls(server).count("GET /controller/version") == 2


def test_failover_between_two_calls(serve: Serve, connect: Connect) -> None:
    """The other controller serves the same database; nothing was sent to the one that stopped."""
    first = serve()
    second = ControllerServer(first.cluster)
    with second:
        controller = connect(first.url, second.url)
        controller.spawn("one", "vm-1", SIZE, OWNER)
        first.stop()
        time.sleep(0.05)
        controller.spawn("one", "vm-2", SIZE, OWNER)
        assert calls(second) == ["GET /controller/version", "POST /resource-groups/one/spawn"]
    assert set(first.cluster.rds) == {"VM-1", "VM-2"}


@pytest.mark.parametrize("fault", ["fail_before", "lose_reply", "unavailable", "hang", "hang_after"])
def test_a_broken_get_is_repeated_once(serve: Serve, connect: Connect, fault: str) -> None:
    server = serve()
    controller = connect(server.url, timeout=0.3)
    server.faults.add(fault, method="GET", path="nodes")
    assert {one.name for one in controller.nodes()} == {"alice", "bob", "charlie", "dave"}
    assert calls(server).count("GET /nodes") == 2


@pytest.mark.parametrize("fault", ["fail_before", "unavailable"])
def test_a_get_that_breaks_twice(serve: Serve, connect: Connect, fault: str) -> None:
    server = serve()
    controller = connect(server.url)
    server.faults.add(fault, method="GET", path="nodes", times=2)
    with pytest.raises(ControllerUnavailable, match=f"{server.port} did not answer.*GET /v1/nodes") as failed:
        controller.nodes()
    assert not isinstance(failed.value, UnknownOutcome)
    assert controller.nodes()


def test_a_query_that_is_a_post_is_repeated(serve: Serve, connect: Connect) -> None:
    server = serve()
    controller = connect(server.url)
    server.faults.add("lose_reply", method="POST", path="query-size-info")
    assert controller.space("one").capacity.bytes
    assert calls(server).count("POST /resource-groups/one/query-size-info") == 2


CHANGES: dict[str, Callable[[LinstorController], object]] = {
    "spawn": lambda one: one.spawn("one", "vm-9", SIZE, OWNER),
    "modify": lambda one: one.modify("vm-1", OWNER),
    "delete": lambda one: one.delete("vm-2"),
    "resize": lambda one: one.resize("vm-1", SIZE._replace(bytes=SIZE.bytes * 2)),
    "clone": lambda one: one.clone(
        "vm-1", "vm-9", group=None, properties={}, drop=[], size=None, dependent=False
    ),
    "place": lambda one: one.place("vm-1"),
    "take_snapshot": lambda one: one.take_snapshot("vm-1", "s2"),
    "delete_snapshot": lambda one: one.delete_snapshot("vm-1", "s1"),
    "roll_back": lambda one: one.roll_back("vm-1", "s1"),
    "restore": lambda one: one.restore("vm-1", "s1", "vm-9", group="one", properties=OWNER),
    "make_available": lambda one: one.make_available("vm-1", "dave"),
}


@pytest.mark.parametrize("fault", ["fail_before", "lose_reply", "unavailable", "hang", "hang_after"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_an_answer_is_not_repeated(
    serve: Serve, connect: Connect, change: str, fault: str
) -> None:
    """It may have taken effect; afterwards the same object reads what came of it, on a new connection."""
    server = serve("1.29.1")
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, OWNER)
    controller.spawn("one", "vm-2", SIZE, OWNER)
    controller.take_snapshot("vm-1", "s1")
    quick = connect(server.url, timeout=0.2)
    before = len(changes(server))
    method = {"modify": "PUT", "resize": "PUT", "delete": "DELETE", "delete_snapshot": "DELETE"}.get(
        change, "POST"
    )
    server.faults.add(fault, method=method)
    with pytest.raises(UnknownOutcome, match=f"{server.port} did not answer.*may have taken effect"):
        CHANGES[change](quick)
    assert len(changes(server)) == before + 1
    took_effect = fault in ("lose_reply", "hang_after")
    definitions = {one for one in ("vm-1", "vm-2", "vm-9") if quick.resource_definition(one)}
    made = {"vm-1", "vm-2", "vm-9"}
    effect = {"delete": {"vm-1"}, "spawn": made, "clone": made, "restore": made}
    assert definitions == effect.get(change if took_effect else "", {"vm-1", "vm-2"})
    snapshots = {one.name for one in quick.snapshots("vm-1")}
    assert snapshots == {"take_snapshot": {"s1", "s2"}, "delete_snapshot": set()}.get(
        change if took_effect else "", {"s1"}
    )
    assert len(changes(server)) == before + 1


@pytest.mark.parametrize("version", ["1.28.0", "1.29.1"])
def test_a_release_without_an_answer_is_not_repeated(serve: Serve, connect: Connect, version: str) -> None:
    server = serve(version)
    controller = connect(server.url)
    controller.spawn("one", "vm-1", SIZE, OWNER)
    controller.make_available("vm-1", "dave")
    before = len(changes(server))
    server.faults.add("lose_reply", method="POST" if version == "1.29.1" else "DELETE")
    with pytest.raises(UnknownOutcome):
        controller.release("vm-1", "dave")
    assert len(changes(server)) == before + 1
    assert "dave" not in {one.node for one in controller.resources("vm-1")}


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def handler(*_: object) -> None:
        raise Interrupted("told to end")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("path", ["controller/version", "resource-groups"])
def test_a_signal_in_the_middle_of_a_call(serve: Serve, connect: Connect, path: str) -> None:
    """Cleaning up afterwards talks on a connection of its own, and knows the version."""
    server = serve("1.29.1")
    controller = connect(server.url)
    server.faults.add("hang", path=path)
    with pytest.raises(Interrupted), interrupted_after(0.2):
        controller.spawn("one", "vm-1", SIZE, OWNER)
    assert controller.delete("vm-1") is False
    controller.release("vm-1", "alice")
    assert calls(server)[-1].endswith("/unmake-available")


def test_an_old_server_is_refused(serve: Serve, connect: Connect) -> None:
    server = serve("1.24.0")
    controller = connect(server.url)
    with pytest.raises(ConfigError, match=r"1\.30\.0 .*1\.24\.0.*1\.25.*1\.31"):
        controller.spawn("one", "vm-1", SIZE, OWNER)
    assert calls(server) == ["GET /controller/version"]


def test_versions_are_numbers() -> None:
    """1.100 is newer than 1.25, whatever their texts compare as."""
    body = b'{"version":"1.99.0","rest_api_version":"1.100.0"}'
    with speaking(json_reply(body)) as speaker:
        transport = transport_to(speaker.url)
        assert transport.rest_version == (1, 100, 0)
        transport.disconnect()


@pytest.mark.parametrize(
    ("text", "address", "identity"),
    [
        ("alice", Address("alice", 3370, False), "alice"),
        ("Alice:3371", Address("alice", 3371, False), "alice"),
        ("alice:7000", Address("alice", 7000, False), "alice:7000"),
        ("linstor://10.0.0.1", Address("10.0.0.1", 3370, False), "10.0.0.1"),
        ("linstor+ssl://alice", Address("alice", 3371, True), "alice"),
        ("https://alice:443/", Address("alice", 443, True), "alice:443"),
        ("http://[fd00::1]:3370", Address("fd00::1", 3370, False), "fd00::1"),
    ],
)
def test_addresses(text: str, address: Address, identity: str) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address
    assert open_controller(text).identity() == {identity}


@pytest.mark.parametrize(
    "text", ["", "ftp://alice", "alice:port", "linstor://", "a://b", "linstor://u@h", "h/path"]
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match="LINSTOR_CONTROLLERS"):
        open_controller(text)


def test_an_empty_list() -> None:
    with pytest.raises(ConfigError, match="LINSTOR_CONTROLLERS"):
        open_controller()
