# SPDX-License-Identifier: Apache-2.0
"""Puts the adapters together for one action.  Everything is made when it is first needed."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from linstor_helper import onexml, settings, sources
from linstor_helper.call import ImageCall
from linstor_helper.clock import SystemClock
from linstor_helper.layout import OneLayout, one_version
from linstor_helper.locks import FileLocks
from linstor_helper.log import Log
from linstor_helper.onexml import Datastore, Image, Vm
from linstor_helper.sources import Request
from linstor_helper.ssh import SshHosts
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.usage import Usage

if TYPE_CHECKING:
    from linstor_helper.linstor_api import LinstorController
    from linstor_helper.one_api import OneApi
    from linstor_helper.settings import Settings

_SSH_TIMEOUT = 10
_LOCK_TIMEOUT = 600.0


class Context:
    """What an action works with."""

    def __init__(self, action: str) -> None:
        self.layout = OneLayout.of(os.environ)
        self.log = Log(os.path.join(self.layout.log, "linstor.log"), action)
        self.clock = SystemClock()
        self.locks = FileLocks(self.layout.locks, self.clock, _LOCK_TIMEOUT)
        self._controllers: list[LinstorController] = []

    @cached_property
    def version(self) -> tuple[int, ...]:
        """Of the installed OpenNebula."""
        return one_version(self.layout)

    @cached_property
    def hosts(self) -> SshHosts:
        """For what has no datastore whose settings count."""
        return SshHosts(_SSH_TIMEOUT)

    @cached_property
    def one(self) -> OneApi:
        from linstor_helper.one_api import OneApi

        return OneApi(os.environ, self.hosts)

    def vm(self, vm_id: int) -> Vm:
        return onexml.parse_vm(self.one.vm(vm_id))

    def image(self, image_id: int) -> Image:
        return onexml.parse_image(self.one.image(image_id))

    def storage(self, datastore: Datastore) -> Storage:
        """The LINSTOR cluster of a datastore, and how to work with it.  Raises ConfigError."""
        loaded = settings.load(datastore, self.layout)
        for warning in loaded.warnings:
            self.log.warning(f"{datastore}: {warning}")
        return Storage(
            datastore, loaded, SshHosts(loaded.ssh_timeout), self.clock, lambda: self._connect(loaded)
        )

    def storage_of(self, datastore_id: int) -> Storage:
        return self.storage(onexml.parse_datastore(self.one.datastore(datastore_id)))

    def import_request(self, storage: Storage, call: ImageCall) -> Request:
        """What the call asks to be read, under the rules of its datastore."""
        home = os.environ.get("HOME", self.layout.var)
        return sources.request_for(call.image, storage.settings, self.layout, home, call.document)

    def usage(self, vm: Vm | int) -> Usage:
        """Who else has the images of a VM."""
        return Usage(self.one, self.vm(vm) if isinstance(vm, int) else vm, self.log.warning)

    def undo(self) -> Undo:
        return Undo(self.log.warning)

    def _connect(self, loaded: Settings) -> LinstorController:
        from linstor_helper.linstor_api import LinstorController

        controller = LinstorController(
            loaded.controllers,
            connect_timeout=loaded.connect_timeout,
            timeout=loaded.timeout,
            cafile=loaded.ca_file,
            certfile=loaded.cert_file,
            keyfile=loaded.key_file,
            token_file=loaded.token_file,
            verify=loaded.tls_verify,
            cache_seconds=loaded.capacity_cache,
        )
        self._controllers.append(controller)
        return controller

    def close(self) -> None:
        """Logs what LINSTOR warned of and ends the connections."""
        for controller in self._controllers:
            for warning in controller.warnings:
                self.log.warning(f"LINSTOR: {warning}")
            controller.close()
