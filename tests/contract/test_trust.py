# SPDX-License-Identifier: Apache-2.0
"""TLS and tokens: who is believed, and who gets to see the token."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from lab.controller import ControllerServer, TlsFiles, make_tls
from linstor_helper.errors import ConfigError, ControllerUnavailable, UnknownOutcome
from linstor_helper.linstor_api import LinstorController
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.connection import Connection, Patience
from linstor_helper.linstor_api.credentials import Credentials

from .support import OWNER, SIZE, calls, speaking

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl program")

Serve = Callable[..., ControllerServer]
Connect = Callable[..., LinstorController]
TOKENS = {"override_props": {"Auth/TokenAuthenticationEnabled": "true"}}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tls(tmp_path_factory.mktemp("other")).ca)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a-token\n")
    path.chmod(0o600)
    return path


def secure_url(server: ControllerServer) -> str:
    return f"linstor+ssl://{server.host}:{server.https_port}"


def seen_tokens(server: ControllerServer) -> set[str]:
    return {(one.headers or {}).get("authorization", "") for one in server.requests}


def test_tls(serve: Serve, connect: Connect, tls: TlsFiles) -> None:
    server = serve(server={"tls": tls})
    controller = connect(secure_url(server), cafile=str(tls.ca))
    controller.spawn("one", "vm-1", SIZE, OWNER)
    assert controller.resource_definition("vm-1")
    assert "VM-1" in server.cluster.rds
    assert server.connections == 1
    assert calls(server)[0] == "GET /controller/version"


def test_a_redirect_is_followed_and_remembered(serve: Serve, connect: Connect, tls: TlsFiles) -> None:
    server = serve(server={"tls": tls})
    controller = connect(server.url, cafile=str(tls.ca))
    controller.spawn("one", "vm-1", SIZE, OWNER)
    assert [one.status for one in server.requests] == [302, 200, 201]
    server.faults.add("fail_before", path="nodes")
    controller.nodes()
    assert [one.status for one in server.requests][3:] == [0, 200, 200]


@pytest.mark.parametrize("location", ["https://localhost:{}/v1/", "http://127.0.0.1:{}/v1/"])
def test_a_redirect_to_elsewhere_is_not_followed(
    serve: Serve, connect: Connect, tls: TlsFiles, location: str
) -> None:
    """Only to HTTPS, and only to the host that the administrator named."""
    server = serve(server={"tls": tls})
    target = location.format(server.https_port)
    reply = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    with speaking(reply.encode()) as other:
        controller = connect(other.url, cafile=str(tls.ca))
        with pytest.raises(ControllerUnavailable, match=f"redirects to {target}"):
            controller.nodes()
    assert server.requests == []


def test_https_switched_on_between_two_calls(serve: Serve, connect: Connect, tls: TlsFiles) -> None:
    """What only reads follows; what changes something is left to a look at what came of it."""
    server = serve(server={"tls": tls, "redirect": False})
    first, second = (connect(server.url, cafile=str(tls.ca)) for _ in range(2))
    first.nodes()
    second.nodes()
    server.redirect = True
    assert first.nodes()
    with pytest.raises(UnknownOutcome, match="redirects to https:"):
        second.spawn("one", "vm-1", SIZE, OWNER)
    assert second.resource_definition("vm-1") is None
    second.spawn("one", "vm-1", SIZE, OWNER)
    assert set(server.cluster.rds) == {"VM-1"}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("ca", ["system", "other"])
def test_an_unknown_certificate_is_not_accepted(
    serve: Serve, connect: Connect, tls: TlsFiles, other_ca: str, scheme: str, ca: str, token_file: Path
) -> None:
    server = serve(server={"tls": tls})
    url = server.url if scheme == "http" else secure_url(server)
    controller = connect(url, cafile=other_ca if ca == "other" else None, token_file=str(token_file))
    with pytest.raises(ControllerUnavailable, match=r"certificate not accepted.*LINSTOR_CA_FILE"):
        controller.nodes()
    assert seen_tokens(server) <= {""}
    assert set(calls(server)) <= {"GET /controller/version"}


def test_the_name_in_the_certificate_counts(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    tls = make_tls(tmp_path, ["DNS:elsewhere.example"])
    server = serve(server={"tls": tls})
    with pytest.raises(ControllerUnavailable, match="certificate not accepted"):
        connect(secure_url(server), cafile=str(tls.ca)).nodes()
    assert server.requests == []


def test_verification_can_be_switched_off(serve: Serve, connect: Connect, tls: TlsFiles) -> None:
    server = serve(server={"tls": tls})
    assert connect(secure_url(server), verify=False).nodes()


def test_mutual_tls(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    tls = make_tls(tmp_path, mutual=True)
    server = serve(server={"tls": tls})
    with pytest.raises(ControllerUnavailable):
        connect(secure_url(server), cafile=str(tls.ca)).nodes()
    assert server.requests == []
    own = {"certfile": str(tls.client_certificate), "keyfile": str(tls.client_key)}
    assert connect(secure_url(server), cafile=str(tls.ca), **own).nodes()


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"cafile": "/nonexistent/ca.pem"}, "LINSTOR_CA_FILE /nonexistent/ca.pem"),
        ({"cafile": __file__}, "LINSTOR_CA_FILE"),
        ({"certfile": "/nonexistent/own.pem"}, "LINSTOR_CERT_FILE /nonexistent/own.pem"),
        ({"certfile": __file__}, "LINSTOR_CERT_FILE"),
        ({"token_file": "/nonexistent/token"}, "LINSTOR_TOKEN_FILE /nonexistent/token"),
    ],
)
def test_files_that_cannot_be_used(
    serve: Serve, connect: Connect, tls: TlsFiles, options: dict[str, Any], attribute: str
) -> None:
    server = serve(server={"tls": tls})
    with pytest.raises(ConfigError, match=attribute):
        connect(secure_url(server), **{"cafile": str(tls.ca), **options}).nodes()
    assert server.requests == []


def test_a_locked_key_does_not_ask(tls: TlsFiles, tmp_path: Path) -> None:
    """OpenSSL would ask for the passphrase on the terminal, for ever; so one is given to it."""
    locked = tmp_path / "locked.key"
    encrypt = ["openssl", "pkey", "-aes128", "-passout", "pass:secret", "-in", str(tls.client_key)]
    subprocess.run([*encrypt, "-out", str(locked)], check=True, capture_output=True)
    code = (
        "from linstor_helper.linstor_api.credentials import Credentials\n"
        f"Credentials(certfile={str(tls.client_certificate)!r}, keyfile={str(locked)!r}).context()\n"
    )
    on_terminal = f"import pty, sys; pty.spawn([sys.executable, '-c', {code!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", on_terminal],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"},
    ) as process:
        shown, _ = process.communicate(timeout=5)
    assert b"ConfigError: LINSTOR_CERT_FILE" in shown
    assert b"pass phrase" not in shown.lower()


def test_python_linstors_own_file_is_not_read_without_need(tmp_path: Path) -> None:
    """It belongs to root: reading it fails for oneadmin, and what is in it may be anything."""
    broken = tmp_path / "auth.json"
    broken.write_text("{")
    code = (
        f"import linstor; linstor.Linstor.AUTH_JSON_PATH = {str(broken)!r}\n"
        "from linstor_helper.linstor_api import LinstorController\n"
        "LinstorController(['localhost'], connect_timeout=1, timeout=1).close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# --- tokens


@pytest.fixture
def guarded(serve: Serve, tls: TlsFiles, token_file: Path) -> ControllerServer:
    """A controller that demands tokens; the one in the file is good."""
    server = serve(server={"tls": tls, "redirect": False})
    server.cluster.settings.modify(TOKENS)
    token_file.write_text(server.cluster.settings.create_token("driver")[1] + "\n")
    return server


def test_a_token_over_tls(
    guarded: ControllerServer, connect: Connect, tls: TlsFiles, token_file: Path
) -> None:
    controller = connect(secure_url(guarded), cafile=str(tls.ca), token_file=str(token_file))
    assert controller.nodes()
    assert seen_tokens(guarded) == {f"Bearer {token_file.read_text().strip()}"}
    assert controller.warnings == []


def test_a_token_never_goes_over_http(guarded: ControllerServer, connect: Connect, token_file: Path) -> None:
    controller = connect(guarded.url, token_file=str(token_file))
    with pytest.raises(ConfigError, match="valid token"):
        controller.nodes()
    guarded.cluster.settings.modify({"delete_props": ["Auth/TokenAuthenticationEnabled"]})
    assert controller.nodes()
    assert seen_tokens(guarded) == {""}
    (warning,) = controller.warnings
    assert "LINSTOR_TOKEN_FILE" in warning
    assert "linstor+ssl://" in warning
    assert token_file.read_text().strip() not in warning


def test_a_token_after_a_redirect_goes_over_tls_only(
    guarded: ControllerServer, connect: Connect, tls: TlsFiles, token_file: Path
) -> None:
    guarded.redirect = True
    controller = connect(guarded.url, cafile=str(tls.ca), token_file=str(token_file))
    assert controller.nodes()
    tokens = [(one.headers or {}).get("authorization", "") for one in guarded.requests]
    assert tokens == ["", *[f"Bearer {token_file.read_text().strip()}"] * 2]


def test_a_wrong_token(guarded: ControllerServer, connect: Connect, tls: TlsFiles, token_file: Path) -> None:
    token_file.write_text("wrong-token")
    controller = connect(secure_url(guarded), cafile=str(tls.ca), token_file=str(token_file))
    with pytest.raises(ConfigError, match="LINSTOR_TOKEN_FILE") as failed:
        controller.spawn("one", "vm-1", SIZE, OWNER)
    assert "wrong-token" not in str(failed.value)
    assert calls(guarded) == ["GET /controller/version"]


CALLS: dict[str, Callable[[LinstorController], object]] = {
    "change": lambda one: one.spawn("one", "vm-1", SIZE, OWNER),
    "list": lambda one: one.resource_definition("vm-1"),
    "raw": lambda one: one.resources("vm-1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_token_that_ends_between_two_calls(
    guarded: ControllerServer,
    connect: Connect,
    tls: TlsFiles,
    token_file: Path,
    call: Callable[[LinstorController], object],
) -> None:
    controller = connect(secure_url(guarded), cafile=str(tls.ca), token_file=str(token_file))
    controller.nodes()
    guarded.faults.add("unauthorized")
    with pytest.raises(ConfigError, match="LINSTOR_TOKEN_FILE"):
        call(controller)
    assert guarded.cluster.rds == {}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_that_others_can_read(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {token_file}") as failed:
        Credentials(token_file=str(token_file)).token()
    assert "a-token" not in str(failed.value)


@pytest.mark.parametrize("text", [b"", b"\n", b"two tokens", b"a\r\nX-Header: b", b"\xff", b"a\0b"])
def test_a_file_that_holds_no_token(token_file: Path, text: bytes) -> None:
    token_file.write_bytes(text)
    with pytest.raises(ConfigError, match=str(token_file)):
        Credentials(token_file=str(token_file)).token()


@pytest.mark.parametrize(
    ("configured", "found", "token"),
    [
        (True, {"token": "satellite"}, "a-token"),
        (False, {"token": "satellite"}, "satellite"),
        (False, {"other": 1}, ""),
        (False, {"token": 1}, ""),
        (False, {"token": "a\nb"}, ""),
        (False, ["token"], ""),
        (False, None, ""),
    ],
)
def test_the_token_of_a_satellite_counts_when_none_is_configured(
    token_file: Path, tmp_path: Path, configured: bool, found: object, token: str
) -> None:
    satellite = tmp_path / "auth.json"
    if found is not None:
        satellite.write_text(json.dumps(found))
    credentials = Credentials(token_file=str(token_file) if configured else None)
    assert credentials.token(str(satellite)) == token


@pytest.mark.parametrize("secure", [True, False])
def test_the_token_of_a_satellite_goes_over_tls_only(
    serve: Serve, tls: TlsFiles, tmp_path: Path, secure: bool
) -> None:
    satellite = tmp_path / "auth.json"
    satellite.write_text('{"token": "satellite"}')
    server = serve(server={"tls": tls, "redirect": False})
    port = server.https_port if secure else server.port
    address, credentials = Address(server.host, port, secure), Credentials(cafile=str(tls.ca))
    connection = Connection(address, credentials, Patience(2.0, 5.0), str(satellite))
    connection.exchange("GET", "/v1/nodes", None, {}, 5.0)
    connection.close()
    assert seen_tokens(server) == {"Bearer satellite" if secure else ""}
