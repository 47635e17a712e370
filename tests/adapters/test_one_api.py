# SPDX-License-Identifier: Apache-2.0
"""Asking OpenNebula: the lab's oned by XML-RPC, its commands as the way out, and all ways in which both fail."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab.one.captures import load
from lab.one.install import CHECKOUT
from lab.one.runner import SESSION, Oned
from linstor_helper import onexml
from linstor_helper.errors import NotFoundError, NotReadyError
from linstor_helper.one_api import OneApi
from linstor_helper.ssh import SshHosts

VM = next(
    call.documents["vm"]
    for call in load(Path(__file__).parents[1] / "data" / "captures")
    if call.scenario == "b01-instantiate-deploy" and "vm" in call.documents
)
KINDS = [("vm", "VM"), ("datastore", "datastore"), ("image", "image"), ("host", "host")]
PASSWORD = SESSION.partition(":")[2]


class Client:
    """A client of the lab's oned; its environment is that of the drivers."""

    def __init__(self, one: Oned) -> None:
        self.one = one
        self.environment = dict(one.executor.environment)
        self.home = Path(self.environment["HOME"])

    def api(self, timeout: float = 5) -> OneApi:
        return OneApi(self.environment, SshHosts(1), timeout)

    @property
    def requests(self) -> list[tuple[str, bool]]:
        return [(request.method, request.ok) for request in self.one.xmlrpc.requests]

    def without(self, *names: str) -> None:
        """Variables of the drivers' environment that are empty now, as if they were unset."""
        for name in names:
            self.environment[name] = ""

    def refused(self) -> str:
        with pytest.raises(NotReadyError) as refused:
            self.api().vm(0)
        text = str(refused.value)
        assert "\n" not in text
        assert PASSWORD not in text
        return text


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    one = Oned(tmp_path / "one", None, hosts=["alice"], drivers=tmp_path)  # type: ignore[arg-type]
    one.add_datastore(100, "img \xfc & more", TYPE="IMAGE_DS", LINSTOR_RESOURCE_GROUP="one")
    one.xmlrpc.answers["vm", 0] = VM
    one.xmlrpc.answers["image", 5] = "<IMAGE><ID>5</ID><DATASTORE_ID>100</DATASTORE_ID></IMAGE>"
    yield Client(one)
    one.close()


@pytest.fixture
def web() -> Iterator[Callable[[bytes], str]]:
    """Starts servers that give one answer to everything; a call returns the endpoint."""
    servers = []

    def serve(answer: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/RPC2"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def reply(*values: Any) -> bytes:
    """An HTTP answer with an XML-RPC array."""
    body = xmlrpc.client.dumps((list(values),), methodresponse=True).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class TestByXmlRpc:
    def test_one_request_per_document(self, client: Client) -> None:
        api = client.api()
        assert api.vm(0).decode() == VM
        assert onexml.parse_datastore(api.datastore(100)).name == "img \xfc & more"
        assert onexml.parse_image(api.image(5)).datastore_id == 100
        assert onexml.parse_host(api.host(0)) == (0, "alice", 2, ())
        assert client.requests == [
            ("one.vm.info", True),
            ("one.datastore.info", True),
            ("one.image.info", True),
            ("one.host.info", True),
        ]

    @pytest.mark.parametrize(("kind", "name"), KINDS)
    def test_missing_object(self, client: Client, kind: str, name: str) -> None:
        with pytest.raises(NotFoundError, match=f"^{name} 99 does not exist in OpenNebula$"):
            getattr(client.api(), kind)(99)
        assert len(client.requests) == 1

    def test_endpoint_and_session_of_the_user(self, client: Client) -> None:
        (client.home / ".one" / "one_endpoint").write_text(f"{client.one.xmlrpc.url}\n")
        client.without("ONE_XMLRPC", "ONE_AUTH")
        assert client.api().vm(0).decode() == VM
        assert client.requests == [("one.vm.info", True)]

    def test_a_session_file_that_is_not_there_gives_way_to_the_users(self, client: Client) -> None:
        client.environment["ONE_AUTH"] = "/nowhere"
        assert client.api().vm(0).decode() == VM

    def test_a_call_that_was_cut_off_is_repeated(self, client: Client) -> None:
        client.one.xmlrpc.faults.reset = 1
        client.environment["PATH"] = "/nowhere"
        assert client.api().vm(0).decode() == VM

    def test_refusal_for_another_reason(self, client: Client, web: Callable[[bytes], str]) -> None:
        client.environment["ONE_XMLRPC"] = web(
            reply(False, "[one.vm.info] Not authorized\nto see [0].", 0x200, 0, -1)
        )
        assert (
            client.refused() == "OpenNebula does not tell about VM 0; [one.vm.info] Not authorized to see [0]"
        )

    def test_nothing_is_imported_before_the_first_call(self) -> None:
        code = (
            "import sys; from linstor_helper.one_api import OneApi; OneApi({}, None);"
            "print([name for name in ('xmlrpc.client', 'http.client', 'socket') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("[]\n", "")


class TestByCommand:
    @pytest.fixture
    def command(self, client: Client, tmp_path: Path) -> Path:
        """An onevm that notes its arguments; returns the note."""
        directory, note = tmp_path / "first", tmp_path / "note"
        directory.mkdir()
        (directory / "onevm").write_text(f'#!/bin/sh\necho "$@" >> {note}\ncat {tmp_path}/vm.xml\n')
        (directory / "onevm").chmod(0o755)
        (tmp_path / "vm.xml").write_text(VM)
        client.environment["PATH"] = f"{directory}:{client.environment['PATH']}"
        return note

    def test_when_calls_are_cut_off(self, client: Client) -> None:
        client.one.xmlrpc.faults.reset = 2
        assert onexml.parse_vm(client.api().vm(0)) == onexml.parse_vm(VM.encode())

    def test_when_a_proxy_answers(self, client: Client) -> None:
        client.one.xmlrpc.faults.proxy_page = 1
        assert onexml.parse_datastore(client.api().datastore(100)).template["LINSTOR_RESOURCE_GROUP"] == "one"

    def test_a_host_that_is_lost(self, client: Client) -> None:
        client.one.host_error("alice")
        client.one.xmlrpc.faults.proxy_page = 1
        assert onexml.parse_host(client.api().host(0)).dead

    def test_when_oned_cannot_be_reached(self, client: Client, command: Path) -> None:
        client.one.xmlrpc.stop()
        assert client.api().vm(0).decode() == VM
        assert command.read_text() == "show -x 0\n"

    def test_when_the_session_is_refused(self, client: Client, command: Path) -> None:
        client.one.xmlrpc.session = "oneadmin:changed"
        assert client.api().vm(0).decode() == VM
        assert client.requests == [("one.vm.info", False)]

    def test_when_there_is_no_session(self, client: Client, command: Path) -> None:
        client.without("ONE_AUTH", "HOME")
        assert client.api().vm(0).decode() == VM
        assert client.requests == []

    @pytest.mark.parametrize(
        "answer",
        [
            b"garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<methodResponse>",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n<html>hello</html>",
            b"HTTP/1.1 200 OK\r\n\r\n<methodResponse><params></params></methodResponse>",
            b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\n",
            reply(),
            reply(True),
            reply("x", "y", "z"),
            xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x")).encode(),
            b"HTTP/1.1 200 OK\r\n\r\n" + xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x")).encode(),
        ],
        ids=[
            "no HTTP",
            "cut off",
            "empty",
            "HTML",
            "no value",
            "redirect",
            "empty array",
            "short array",
            "wrong types",
            "no header",
            "fault",
        ],
    )
    def test_when_the_answer_is_not_one_of_oned(
        self, client: Client, command: Path, web: Callable[[bytes], str], answer: bytes
    ) -> None:
        client.environment["ONE_XMLRPC"] = web(answer)
        assert client.api().vm(0).decode() == VM

    def test_when_the_port_is_no_number(self, client: Client, command: Path) -> None:
        client.environment["ONE_XMLRPC"] = "http://localhost:x/"
        assert client.api().vm(0).decode() == VM

    @pytest.mark.parametrize(("kind", "name"), KINDS)
    def test_missing_object(self, client: Client, kind: str, name: str) -> None:
        client.one.xmlrpc.faults.proxy_page = 1
        with pytest.raises(NotFoundError, match=f"^{name} 99 does not exist in OpenNebula$"):
            getattr(client.api(), kind)(99)


class TestNeither:
    def test_oned_is_down(self, client: Client) -> None:
        client.one.xmlrpc.stop()
        text = client.refused()
        assert text.startswith(f"OpenNebula does not answer at {client.one.xmlrpc.url}: ")
        assert "onevm show 0: " in text
        assert "ONE_XMLRPC" in text

    def test_the_session_is_wrong(self, client: Client) -> None:
        client.one.xmlrpc.session = "oneadmin:changed"
        text = client.refused()
        assert f"{client.one.xmlrpc.url}: the session is not accepted" in text
        assert client.requests == [("one.vm.info", False)] * 2

    def test_a_proxy_answers(self, client: Client) -> None:
        client.one.xmlrpc.faults.proxy_page = 2
        assert f"{client.one.xmlrpc.url}: HTTP status 502" in client.refused()

    @pytest.mark.parametrize("endpoint", ["localhost:2633/RPC2", "ftp://localhost", "http://"])
    def test_the_endpoint_is_no_address(self, client: Client, endpoint: str) -> None:
        client.environment["ONE_XMLRPC"] = endpoint
        assert f"does not answer at {endpoint}: this is no http address" in client.refused()

    def test_the_commands_are_not_installed(self, client: Client) -> None:
        client.one.xmlrpc.stop()
        client.environment["PATH"] = "/nowhere"
        assert "onevm cannot be run" in client.refused()

    def test_oned_is_silent(self, client: Client) -> None:
        """The commands would wait for the same oned, without a limit that we know."""
        client.one.xmlrpc.faults.hang = 1
        started = time.monotonic()
        with pytest.raises(
            NotReadyError, match=rf"^OpenNebula is silent at {client.one.xmlrpc.url} for 0.2 s"
        ):
            client.api(timeout=0.2).vm(0)
        assert time.monotonic() - started < 2
        assert client.requests == []

    def test_a_password_in_the_endpoint_stays_there(self, client: Client) -> None:
        client.one.xmlrpc.stop()
        address = client.one.xmlrpc.url.partition("://")[2]
        client.environment["ONE_XMLRPC"] = f"http://admin:{PASSWORD}@{address}"
        assert f"http://{address}" in client.refused()
