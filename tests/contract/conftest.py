# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from lab.controller import ControllerServer, standard_cluster
from lab.devices_protocol import NoDevices
from linstor_helper.linstor_api import LinstorController

from .support import REST_VERSIONS, Subject, open_controller

LIVE = os.environ.get("LINSTOR_TEST_CONTROLLER")


@pytest.fixture
def serve() -> Iterator[Callable[..., ControllerServer]]:
    """Starts controllers of standard clusters; options are those of the cluster, ``server`` of the server."""
    started: list[ControllerServer] = []

    def start(rest_version: str = "1.28.0", *, server: dict[str, Any] | None = None, **options: Any) -> Any:
        cluster = standard_cluster(NoDevices(), rest_version, sync_seconds=0.0, **options)
        started.append(ControllerServer(cluster, **(server or {})).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., LinstorController]]:
    opened: list[LinstorController] = []

    def made(*urls: str, **options: Any) -> LinstorController:
        opened.append(open_controller(*urls, **options))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


@pytest.fixture(params=REST_VERSIONS)
def server(request: pytest.FixtureRequest, serve: Callable[..., ControllerServer]) -> ControllerServer:
    """Controllers of every REST version that the driver treats differently."""
    return serve(request.param)


@pytest.fixture
def controller(server: ControllerServer, connect: Callable[..., LinstorController]) -> LinstorController:
    return connect(server.url)


@pytest.fixture(params=[*REST_VERSIONS, *(["live"] if LIVE else [])])
def subject(
    request: pytest.FixtureRequest,
    serve: Callable[..., ControllerServer],
    connect: Callable[..., LinstorController],
) -> Iterator[Subject]:
    """Simulators, and the real cluster that LINSTOR_TEST_CONTROLLER and LINSTOR_TEST_GROUP name."""
    if request.param == "live":
        made = Subject(
            connect(*str(LIVE).split(","), timeout=120.0), os.environ.get("LINSTOR_TEST_GROUP", "one")
        )
    else:
        made = Subject(connect(serve(request.param).url), "one")
    yield made
    for name in made.made:
        made.controller.delete(name)
