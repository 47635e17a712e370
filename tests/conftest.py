# SPDX-License-Identifier: Apache-2.0
"""A cloud for each test that asks for one: it starts in a twentieth of a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from lab.cloud import Cloud


class CloudMaker(Protocol):
    """Starts a cloud with other options than the standard one, until the end of the test."""

    def __call__(self, **options: Any) -> Cloud: ...


@pytest.fixture
def make_cloud() -> Iterator[CloudMaker]:
    """The options are those of `Cloud`."""
    with ExitStack() as started:
        yield lambda **options: started.enter_context(Cloud(**options))


@pytest.fixture
def cloud(make_cloud: CloudMaker) -> Cloud:
    """The standard cloud, with the executables of this checkout as its drivers."""
    return make_cloud()
