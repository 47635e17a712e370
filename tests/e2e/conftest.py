# SPDX-License-Identifier: Apache-2.0
"""The cloud of the captured calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.cloud import Cloud
from tests.actions.support import content, resources
from tests.actions.tm.support import bare_volume
from tests.e2e.replaying import CD, IMAGES, OS, Oned


@pytest.fixture
def oned(cloud: Cloud) -> Oned:
    return Oned(cloud)


@pytest.fixture
def stocked(oned: Oned) -> Iterator[Oned]:
    """With all images that the VMs of the captures use, made by the driver where that is not slow."""
    for name in ("a01-image-register-path", "a05-image-register-cdrom", "a08-datablock-persistent"):
        oned.play(name)
    for number in (1, 2, 3, 6):
        bare_volume(oned.cloud, f"OpenNebula-Image-{number}", 1024)
    yield oned
    assert resources(oned.cloud) >= IMAGES
    assert content(oned.cloud, "OpenNebula-Image-0", len(OS)) == OS
    assert content(oned.cloud, "OpenNebula-Image-4", len(CD)) == CD
