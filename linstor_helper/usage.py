# SPDX-License-Identifier: Apache-2.0
"""Who else uses an image.  LINSTOR cannot tell: to it, somebody who only reads is nobody."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from linstor_helper import onexml
from linstor_helper.errors import Error, Interrupted
from linstor_helper.onexml import Vm
from linstor_helper.ports import OpenNebula, Warn


class Usage:
    """The VMs besides ``vm`` that use an image, as OpenNebula knows it."""

    def __init__(self, one: OpenNebula, vm: Vm, warn: Warn) -> None:
        self._one = one
        self._vm = vm
        self._warn = warn

    def others(self, image_id: int | None) -> AbstractSet[int] | None:
        """Ids of the other VMs that have the image as a disk, on any host; None when OpenNebula does not tell."""
        if image_id is None:
            return None
        try:
            return set(onexml.parse_image(self._one.image(image_id)).vms) - {self._vm.id}
        except Interrupted:
            raise
        except Error as error:
            self._warn(f"who else uses image {image_id} is unknown: {error}")
            return None

    def nobody_else(self, image_id: int | None) -> bool:
        """Whether OpenNebula tells that no other VM has the image."""
        others = self.others(image_id)
        return others is not None and not others

    def on_host(self, host: str, candidates: AbstractSet[int]) -> AbstractSet[int]:
        """Those of the ``candidates`` that are on the host; all of them when OpenNebula does not tell."""
        host_id = self._vm.host_ids.get(host)
        if not candidates or host_id is None:
            return candidates
        try:
            return candidates & set(onexml.parse_host(self._one.host(host_id)).vms)
        except Interrupted:
            raise
        except Error as error:
            self._warn(f"the VMs of host {host} are unknown: {error}")
            return candidates
