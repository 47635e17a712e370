# SPDX-License-Identifier: Apache-2.0
"""A cloud for each test that asks for one: it starts in a twentieth of a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Callable

import pytest

from lab.cloud import Cloud


@pytest.fixture
def make_cloud() -> Iterator[Callable[..., Cloud]]:
    """Starts a cloud with other options than the standard one (those of `Cloud`), until the end of the test."""

    def make(**options: Any) -> Cloud:
        return started.enter_context(Cloud(**options))

    with ExitStack() as started:
        yield make


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    """The standard cloud, with the executables of this checkout as its drivers."""
    return make_cloud()
