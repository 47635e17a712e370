# SPDX-License-Identifier: Apache-2.0
"""Guide 2.16: TLS with redirect, client certificates, bearer tokens."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import ssl
from pathlib import Path
from typing import Any, Callable

import linstor
import pytest

from lab.controller import Cluster, ControllerServer, TlsFiles, make_tls

from .support import Clock, Rest

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the openssl program")
TOKENS = {"override_props": {"Auth/TokenAuthenticationEnabled": "true"}}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls"))


def _get(server: ControllerServer, tls: TlsFiles, *, client: bool = False, pinned: bool = True) -> int:
    context = ssl.create_default_context(cafile=str(tls.ca) if pinned else None)
    if client:
        context.load_cert_chain(tls.client_certificate, tls.client_key)
    connection = http.client.HTTPSConnection(server.host, server.https_port, context=context, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/nodes")
        return connection.getresponse().status


@needs_openssl
def test_https_and_redirect(
    cluster: Cluster,
    serve: Callable[..., ControllerServer],
    connect: Callable[..., Rest],
    tls: TlsFiles,
) -> None:
    """Plain HTTP answers /v1 with 302 to the HTTPS port, and serves /health."""
    server = serve(cluster, tls=tls)
    redirect = connect(server).call("GET", "nodes?limit=1")
    assert (redirect.status, redirect.headers["Location"]) == (302, f"{server.https_url}/v1/nodes?limit=1")
    assert connect(server).call("GET", "/health").status == 200
    assert _get(server, tls) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        _get(server, tls, pinned=False)


@needs_openssl
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS")
def test_python_linstor_follows_the_redirect(
    cluster: Cluster, serve: Callable[..., ControllerServer], tls: TlsFiles
) -> None:
    server = serve(cluster, tls=tls)
    lin = linstor.Linstor(f"linstor://{server.host}:{server.port}", timeout=5)
    lin.cafile = str(tls.ca)
    lin.connect()
    assert lin.is_secure_connection
    assert lin.node_list()[0].nodes[0].name == "alice"
    lin.disconnect()


@needs_openssl
def test_mutual_tls(cluster: Cluster, serve: Callable[..., ControllerServer], tmp_path: Path) -> None:
    """With a trust store the server demands a client certificate."""
    tls = make_tls(tmp_path, mutual=True)
    server = serve(cluster, tls=tls)
    assert _get(server, tls, client=True) == 200
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        _get(server, tls)


def _authorized(rest: Rest, secret: str) -> Any:
    return rest.call("GET", "nodes", headers={"Authorization": f"Bearer {secret}"})


def test_tokens_count_only_when_enabled_and_one_exists(cluster: Cluster, rest: Rest, clock: Clock) -> None:
    """Ignored otherwise; wrong or missing: 401 with 412; /health is exempt; expiry and switching off."""
    assert _authorized(rest, "anything").status == 200
    cluster.settings.modify(TOKENS)
    assert _authorized(rest, "anything").status == 200
    number, secret = cluster.settings.create_token("driver", expires=clock() + 60)
    assert _authorized(rest, secret).status == 200
    assert _authorized(rest, "wrong").problem == (401, "E412")
    assert rest.call("GET", "nodes").problem == (401, "E412")
    assert rest.call("GET", "/health").status == 200
    other, _ = cluster.settings.create_token("other", ip_filter="10.9.9.9")
    clock.advance(61)
    assert _authorized(rest, secret).status == 401
    cluster.settings.change_token(other, {"is_active": False})
    assert _authorized(rest, secret).status == 200
    assert number != other


def test_tokens_are_bound_to_an_address(cluster: Cluster, rest: Rest) -> None:
    cluster.settings.modify(TOKENS)
    _, near = cluster.settings.create_token("near", ip_filter="127.0.0.1")
    _, far = cluster.settings.create_token("far", ip_filter="10.9.9.9")
    assert _authorized(rest, near).status == 200
    assert _authorized(rest, far).status == 401


def test_token_calls(rest: Rest) -> None:
    """The secret is told once, in obj_refs, when the token is made."""
    made = rest.post(
        "controller/auth/initialize-token-auth",
        {"only_satellites": False, "description": "first", "no_https": True},
    )
    assert made.status == 201
    secret = made.json[0]["obj_refs"]["AuthToken"]
    assert rest.call("GET", "nodes").status == 401
    header = {"Authorization": f"Bearer {secret}"}
    second = rest.call(
        "POST",
        "controller/auth/token",
        {"description": "second", "expires_at": "2031-01-01T00:00:00Z"},
        header,
    )
    listed = rest.call("GET", "controller/auth/token", headers=header).json
    assert [one["description"] for one in listed["list"]] == ["first", "second"]
    assert listed["list"][1]["expires_at"].startswith("2031-01-01")
    assert secret not in str(listed)
    number = second.json[0]["obj_refs"]["Id"]
    path = f"controller/auth/token/{number}"
    assert rest.call("PUT", path, {"is_active": False}, header).status == 200
    assert rest.call("DELETE", path, None, header).status == 200
    assert rest.call("DELETE", path, None, header).status == 500


def test_tokens_need_rest_1_28(rest_of: Callable[..., Any]) -> None:
    cluster, rest = rest_of(rest_version="1.27.0")
    cluster.settings.props.update(TOKENS["override_props"])
    cluster.settings.create_token("driver")
    assert rest.call("GET", "nodes").status == 200
    assert rest.call("GET", "controller/auth/token").problem == (404, "E998")


@needs_openssl
def test_initialising_tokens_turns_https_on(
    cluster: Cluster,
    serve: Callable[..., ControllerServer],
    connect: Callable[..., Rest],
    tls: TlsFiles,
) -> None:
    server = serve(cluster, tls=tls, redirect=False)
    rest = connect(server)
    assert rest.call("GET", "nodes").status == 200
    rest.post("controller/auth/initialize-token-auth", {"only_satellites": True})
    assert rest.call("GET", "nodes").status == 302


@needs_openssl
@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS")
def test_python_linstor_sends_its_token(
    cluster: Cluster, serve: Callable[..., ControllerServer], tls: TlsFiles
) -> None:
    cluster.settings.modify(TOKENS)
    _, secret = cluster.settings.create_token("driver")
    server = serve(cluster, tls=tls)
    good = linstor.Linstor(server.https_url.replace("https", "linstor+ssl"), timeout=5, auth_token=secret)
    good.cafile = str(tls.ca)
    good.connect()
    assert good.node_list()
    good.disconnect()
    bad = linstor.Linstor(server.https_url.replace("https", "linstor+ssl"), timeout=5, auth_token="x")
    bad.cafile = str(tls.ca)
    with pytest.raises(linstor.LinstorApiCallError):
        bad.connect()
    bad.disconnect()
