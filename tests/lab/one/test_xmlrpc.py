# SPDX-License-Identifier: Apache-2.0
"""The XML-RPC interface and the commands that stand for onevm and its sisters."""

from __future__ import annotations

import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree

from lab.one.runner import SESSION

from .conftest import Bench


@pytest.fixture
def one(bench: Bench) -> Iterator[Any]:
    """A client; a new connection follows each that the server cut off."""
    with xmlrpc.client.ServerProxy(bench.one.xmlrpc.url) as server:
        yield server.one


def show(bench: Bench, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**bench.one.executor.environment}
    path = f"{bench.one.tree.bin}/{command[0]}"
    return subprocess.run([path, *command[1:]], env=environment, capture_output=True, text=True)


def test_documents_of_all_kinds(bench: Bench, one: Any) -> None:
    image = bench.one.image_create("os & more", path="/srv/images/os.img")
    vm = bench.one.vm_instantiate([image], host="host1")
    assert one.system.version(SESSION) == [True, "7.4.0", 0]
    for kind, number, tag, text in (
        ("image", image.id, "NAME", "os & more"),
        ("vm", vm.id, "HISTORY_RECORDS/HISTORY/HOSTNAME", "host1"),
        ("datastore", 101, "TEMPLATE/SHARED", "YES"),
        ("host", 2, "NAME", "host2"),
    ):
        ok, xml, code = getattr(one, kind).info(SESSION, number, True)
        assert (ok, code) == (True, 0)
        assert etree.fromstring(xml).findtext(tag) == text
    pool = etree.fromstring(one.hostpool.info(SESSION)[1])
    assert [host.findtext("STATE") for host in pool] == ["2", "2", "2"]


def test_refusals_carry_text_code_and_id(bench: Bench, one: Any) -> None:
    assert one.vm.info(SESSION, 7)[:4] == [
        False,
        "[one.vm.info] Error getting virtual machine [7].",
        0x400,
        7,
    ]
    refused = one.vm.info("oneadmin:wrong", 7)
    assert refused[:3] == [False, "[one.vm.info] User couldn't be authenticated, aborting call.", 0x100]
    assert one.vm.info(SESSION, "7")[2] == 0x1000
    assert [request.ok for request in bench.one.xmlrpc.requests] == [False, False, False]


def test_a_changed_password_locks_clients_out(bench: Bench) -> None:
    bench.one.xmlrpc.session = "oneadmin:changed"
    done = show(bench, "onedatastore", "show", "-x", "100")
    assert done.returncode == 255
    assert "couldn't be authenticated" in done.stderr


def test_faults(bench: Bench, one: Any) -> None:
    rpc = bench.one.xmlrpc
    rpc.faults.reset = 2
    # xmlrpc.client itself tries a second time on a connection that was cut off.
    with pytest.raises((ConnectionError, OSError)):
        one.system.version(SESSION)
    rpc.faults.proxy_page = 1
    with pytest.raises(xmlrpc.client.ProtocolError) as page:
        one.system.version(SESSION)
    assert page.value.errcode == 502
    rpc.faults.delay = 0.2
    started = time.monotonic()
    assert one.system.version(SESSION)[0]
    assert time.monotonic() - started >= 0.2


def test_a_hanging_server_accepts_and_says_nothing(bench: Bench) -> None:
    bench.one.xmlrpc.faults.hang = 1
    host, _, port = bench.one.xmlrpc.url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=0.3) as connection:
        connection.sendall(b"POST /RPC2 HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(OSError, match="timed out"):
            connection.recv(1)


def test_stopped_server_refuses_and_comes_back_at_the_same_address(bench: Bench, one: Any) -> None:
    url = bench.one.xmlrpc.url
    bench.one.xmlrpc.stop()
    with pytest.raises(ConnectionRefusedError):
        one.system.version(SESSION)
    bench.one.xmlrpc.start()
    assert bench.one.xmlrpc.url == url
    assert one.system.version(SESSION)[0]


def test_commands_print_the_same_documents(bench: Bench, one: Any) -> None:
    done = show(bench, "onedatastore", "show", "-x", "100")
    assert done.returncode == 0
    answer = etree.fromstring(one.datastore.info(SESSION, 100)[1])
    printed = etree.fromstring(done.stdout, etree.XMLParser(remove_blank_text=True))
    assert [(each.tag, each.text) for each in printed.iter()] == [
        (each.tag, each.text) for each in answer.iter()
    ]
    hosts = show(bench, "onehost", "list", "-x")
    assert etree.fromstring(hosts.stdout).findtext("HOST/NAME") == "host0"
    missing = show(bench, "onevm", "show", "--xml", "9")
    assert (missing.returncode, missing.stdout) == (255, "")
    assert missing.stderr == "[one.vm.info] Error getting virtual machine [9].\n"
    assert show(bench, "onevm", "show", "9").returncode == 255
