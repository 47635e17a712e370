# SPDX-License-Identifier: Apache-2.0
"""A datastore with all that is needed to work on its volumes."""

from __future__ import annotations

from functools import cached_property
from typing import Callable

from linstor_helper.names import Owner
from linstor_helper.onexml import Datastore
from linstor_helper.ports import Clock, Controller, Hosts
from linstor_helper.settings import Settings


class Storage:
    """The LINSTOR cluster, the hosts and the settings of one datastore.

    ``connect`` makes the controller when it is first used: importing its client takes longer than some actions.
    """

    def __init__(
        self,
        datastore: Datastore,
        settings: Settings,
        hosts: Hosts,
        clock: Clock,
        connect: Callable[[], Controller],
    ) -> None:
        self.datastore = datastore
        self.settings = settings
        self.hosts = hosts
        self.clock = clock
        self._connect = connect

    @cached_property
    def controller(self) -> Controller:
        return self._connect()

    @property
    def ties_images(self) -> bool:
        """Whether an image may share blocks with what it was copied from for ever (ZFS)."""
        return self.settings.clone_mode == "dependent"

    @property
    def ties_disks(self) -> bool:
        """Whether a VM's copy of an image may share blocks with that for ever (ZFS): it is short-lived, mostly."""
        return self.settings.clone_mode != "independent"

    def owner(self, *, image: int | None = None, vm: int | None = None, disk: int | None = None) -> Owner:
        """The owner of a volume of this datastore."""
        return Owner(self.settings.instance, self.datastore.id, image, vm, disk)
