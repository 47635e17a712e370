# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import linstor
import pytest

from lab.controller import Cluster, ControllerServer, standard_cluster
from lab.devices_protocol import NoDevices

from .openapi import OpenApi, description_file
from .support import Clock, Rest


@pytest.fixture(scope="session")
def openapi() -> OpenApi | None:
    """LINSTOR's description of the API, or None where it is not at hand."""
    path = description_file()
    return OpenApi(path) if path else None


@pytest.fixture
def devices() -> NoDevices:
    return NoDevices()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def build(devices: NoDevices, clock: Clock) -> Callable[..., Cluster]:
    """Makes standard clusters with the options of the test."""

    def made(**options: Any) -> Cluster:
        return standard_cluster(options.pop("devices", devices), **{"clock": clock, **options})

    return made


@pytest.fixture
def cluster(build: Callable[..., Cluster]) -> Cluster:
    return build()


@pytest.fixture
def serve(openapi: OpenApi | None) -> Iterator[Callable[..., ControllerServer]]:
    """Starts servers; at the end every request and reply is checked against the description."""
    started: list[ControllerServer] = []

    def start(cluster: Cluster, **options: Any) -> ControllerServer:
        server = ControllerServer(cluster, **options).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
    if openapi is not None:
        for server in started:
            for record in server.requests:
                openapi.check(record)


@pytest.fixture
def server(cluster: Cluster, serve: Callable[..., ControllerServer]) -> ControllerServer:
    return serve(cluster)


@pytest.fixture
def connect() -> Iterator[Callable[..., Rest]]:
    opened: list[Rest] = []

    def made(server: ControllerServer, **options: Any) -> Rest:
        rest = Rest(server.host, server.port, **options)
        opened.append(rest)
        return rest

    yield made
    for rest in opened:
        rest.close()


@pytest.fixture
def rest(server: ControllerServer, connect: Callable[..., Rest]) -> Rest:
    return connect(server)


@pytest.fixture
def rest_of(
    build: Callable[..., Cluster],
    serve: Callable[..., ControllerServer],
    connect: Callable[..., Rest],
) -> Callable[..., tuple[Cluster, Rest]]:
    """A cluster with options of the test, served, and a client of it."""

    def made(**options: Any) -> tuple[Cluster, Rest]:
        cluster = build(**options)
        return cluster, connect(serve(cluster))

    return made


@pytest.fixture
def client() -> Iterator[Callable[..., linstor.Linstor]]:
    """Connects the real python-linstor to a server."""
    connected: list[linstor.Linstor] = []

    def made(server: ControllerServer, **options: Any) -> linstor.Linstor:
        lin = linstor.Linstor(
            f"linstor://{server.host}:{server.port}", timeout=10, keep_alive=True, **options
        )
        lin.connect()
        connected.append(lin)
        return lin

    yield made
    for lin in connected:
        lin.disconnect()
