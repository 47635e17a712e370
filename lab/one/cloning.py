# SPDX-License-Identifier: Apache-2.0
"""Images that are being copied to images or apps.

Source of the facts: ``ImageManager::set_clone_state`` and ``release_cloning_resource``.
"""

from __future__ import annotations

from lab.one.datastore_drivers import set_state
from lab.one.errors import OneError
from lab.one.model import Image, ImageState


def begin(image: Image) -> None:
    """Raises OneError for an image whose content may change meanwhile."""
    if image.state not in (ImageState.READY, ImageState.USED, ImageState.CLONE):
        raise OneError("Cannot clone image in current state")
    image.cloning_ops += 1
    if image.state is ImageState.READY:
        set_state(image, ImageState.CLONE if image.persistent else ImageState.USED)


def end(image: Image) -> None:
    image.cloning_ops -= 1
    if not image.cloning_ops and not image.vms:
        set_state(image, ImageState.READY)
