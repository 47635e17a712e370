# SPDX-License-Identifier: Apache-2.0
"""`Oned`: the part of OpenNebula's daemon that storage drivers meet, in one object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Union

from lab.one import configuration
from lab.one.allocation import Allocator
from lab.one.calls import Call, Executor
from lab.one.datastore_drivers import DatastoreDrivers
from lab.one.disk_resizing import DiskResizing
from lab.one.disk_saving import DiskSaving
from lab.one.disk_snapshots import DiskSnapshots
from lab.one.disks import DiskTemplate
from lab.one.errors import OneError
from lab.one.hosts import HostAccess
from lab.one.hotplug import Hotplug
from lab.one.hypervisor import Hypervisor
from lab.one.image_snapshots import ImageSnapshots
from lab.one.images import ImageManager
from lab.one.install import CHECKOUT, Installation, driver_environment, install
from lab.one.inventory import Inventory
from lab.one.lifecycle import Lifecycle
from lab.one.machines import Machines
from lab.one.market import Market
from lab.one.migration import Migration
from lab.one.model import Datastore, Host, HostState, Image, LcmState, MarketApp, VirtualMachine, VmState
from lab.one.power import Power
from lab.one.recovery import Recovery
from lab.one.scripts import ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.version import OneVersion
from lab.one.vmm import Vmm
from lab.one.xmlrpc import XmlRpc

SESSION = "oneadmin:opennebula"

Disk = Union[DiskTemplate, Image, int]
"""A disk of a new VM: a DISK vector, an image or the id of an image."""


class Oned:
    """Keeps the objects of a cloud, answers XML-RPC and calls the drivers.

    `root` becomes ONE_LOCATION, `drivers` holds the executables in ``datastore/`` and ``tm/``, `host_access`
    runs scripts and guests. `first_in_path` and `environment` go to every driver on top of oned's own.
    """

    def __init__(
        self,
        root: Path,
        host_access: HostAccess,
        *,
        hosts: Iterable[str],
        version: str = "7.4.0",
        drivers: Path = CHECKOUT,
        front_end: str = "frontend",
        first_in_path: Iterable[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.version = OneVersion.parse(version)
        self.front_end = front_end
        self.tree: Installation = install(root, self.version, SESSION, drivers)
        self.inventory = Inventory()
        for name in hosts:
            self.inventory.add_host(name)
        self.xmlrpc = XmlRpc(self.inventory, self.version, SESSION)
        self.xmlrpc.start()
        env = driver_environment(self.tree, self.xmlrpc.url, list(first_in_path))
        self.executor = Executor(self.version, {**env, **(environment or {})}, self.tree.var)
        self.hypervisor = Hypervisor(host_access)
        location = self.tree.datastore_location
        self.lines = TransferLines(front_end, location)
        drivers_of_images = DatastoreDrivers(self.inventory, self.executor, self.tree.remotes, self.version)
        self._assemble_images(drivers_of_images)
        self._assemble_machines(drivers_of_images)

    def _assemble_images(self, drivers: DatastoreDrivers) -> None:
        images = ImageManager(self.inventory, drivers, self.version, self.tree.datastore_location)
        self.image_create = images.create
        self.image_clone = images.clone
        self.image_delete = images.delete
        self.image_document = drivers.document
        self.ds_monitor = images.monitor
        snapshots = ImageSnapshots(self.inventory, drivers, self.version)
        self.image_snapshot_delete = snapshots.delete
        self.image_snapshot_revert = snapshots.revert
        self.image_snapshot_flatten = snapshots.flatten
        self.market = Market(self.inventory, self.version, self.executor, drivers, self.tree)

    def _assemble_machines(self, drivers: DatastoreDrivers) -> None:
        inventory, version, lines = self.inventory, self.version, self.lines
        allocator = Allocator(inventory)
        scripts = ScriptRunner(self.executor, self.tree.remotes, version, self.tree.vms)
        vmm = Vmm(inventory, version, lines, self.hypervisor, scripts)
        life = Lifecycle(allocator, lines, scripts, vmm)
        snapshots = DiskSnapshots(inventory, version, allocator, lines, scripts, vmm)
        resizing = DiskResizing(inventory, allocator, lines, scripts, vmm)
        saving = DiskSaving(inventory, version, allocator, lines, scripts, drivers)
        recovery = Recovery(life, lines, scripts, vmm, (snapshots, resizing, saving))
        self._machines = Machines(inventory, allocator, life, recovery)
        hotplug = Hotplug(inventory, allocator, lines, scripts, vmm)
        power = Power(inventory, allocator, life, self._machines)
        migration = Migration(inventory, version, allocator, life, vmm)
        self.vm_terminate = self._machines.terminate
        self.vm_detach = hotplug.detach
        self._attach = hotplug.attach
        self.vm_poweroff = power.poweroff
        self.vm_suspend = power.suspend
        self.vm_stop = power.stop
        self.vm_undeploy = power.undeploy
        self.vm_resume = power.resume
        self.vm_migrate = migration.migrate
        self.vm_disk_snapshot_create = snapshots.create
        self.vm_disk_snapshot_delete = snapshots.delete
        self.vm_disk_snapshot_revert = snapshots.revert
        self.vm_disk_resize = resizing.resize
        self.vm_disk_resize_unchecked = resizing.force
        self.vm_disk_saveas = saving.save_as
        self.vmm_environment = scripts.vmm_environment
        self.host_state = migration.host_state
        self._recoveries = {
            "retry": recovery.retry,
            "delete": recovery.delete,
            "recreate": recovery.recreate,
            "success": recovery.success,
            "failure": recovery.failure,
        }

    # -- objects -------------------------------------------------------------------------------------

    def add_datastore(self, id: int, name: str, **template: str) -> Datastore:
        """`onedatastore create`; what oned adds to a template is filled in. Raises OneError for a refusal."""
        complete = configuration.datastore_template(template, self.version)
        base_path = f"{self.tree.datastore_location}/{id}"
        store = Datastore(id, name, complete, base_path)
        self.inventory.datastores[id] = store
        (self.tree.datastores / str(id)).mkdir(exist_ok=True)
        return store

    def image(self, image_id: int) -> Image:
        return self.inventory.images[image_id]

    def vm(self, vm_id: int) -> VirtualMachine:
        return self.inventory.vms[vm_id]

    @property
    def calls(self) -> list[Call]:
        """All driver calls so far, in the order in which they ended."""
        return self.executor.calls

    # -- virtual machines ----------------------------------------------------------------------------

    def vm_instantiate(
        self,
        disks: Iterable[Disk],
        host: str = "alice",
        *,
        datastore: int = 101,
        context: Mapping[str, str] | bool = True,
        name: str | None = None,
    ) -> VirtualMachine:
        """Create a VM and deploy it. Look at its state and `error` for how far it came."""
        wanted = {"NETWORK": "YES"} if context is True else dict(context or {})
        vm = self._machines.create(
            [_template(one) for one in disks], name, None if context is False else wanted
        )
        return self._machines.deploy(vm, host, datastore)

    def vm_prepare(
        self, disks: Iterable[Disk], host: str = "alice", *, datastore: int = 101
    ) -> VirtualMachine:
        """A VM in PROLOG for which no driver is called: run its lines (`lines.prolog(vm)`) yourself."""
        vm = self._machines.create([_template(one) for one in disks], None, {"NETWORK": "YES"})
        return self._machines.prepare(vm, host, datastore)

    def vm_deploy(
        self, vm: VirtualMachine, host: str = "alice", datastore: int | None = None
    ) -> VirtualMachine:
        """`onevm deploy`; a stopped or undeployed VM stays in its system datastore, others go to 101."""
        if datastore is None and vm.state is VmState.PENDING:
            datastore = 101
        return self._machines.deploy(vm, host, datastore)

    def vm_attach(self, vm: VirtualMachine, disk: Disk) -> VirtualMachine:
        return self._attach(vm, _template(disk))

    def vm_recover(self, vm: VirtualMachine, operation: str) -> VirtualMachine:
        """`onevm recover`: operation ``retry``, ``delete``, ``recreate``, ``success`` or ``failure``."""
        if operation not in self._recoveries:
            raise OneError(f"unknown recover operation {operation!r}")
        return self._recoveries[operation](vm)

    def vm_update(self, vm: VirtualMachine, template: str) -> VirtualMachine:
        """`onevm update --append` of the user's attributes: lines of ``KEY=value`` or ``KEY="value"``."""
        for line in template.splitlines():
            key, equals, value = line.strip().partition("=")
            if not equals:
                raise OneError(f"[one.vm.update] Cannot update template. syntax error in {line!r}")
            vm.user_template[key.strip().upper()] = value.strip().strip('"')
        return vm

    def marketapp_create(self, image: Image | int, name: str = "") -> MarketApp:
        """`onemarketapp create` from an image; `market.path(app)` are its bytes, `app.source` downloads them."""
        return self.market.create(image.id if isinstance(image, Image) else image, name)

    def host_error(self, name: str) -> Host:
        """The host does not answer any more: it is in ERROR, its running VMs are UNKNOWN."""
        return self.host_state(name, HostState.ERROR)

    def vm_unknown(self, vm: VirtualMachine) -> VirtualMachine:
        """The monitoring misses a running VM although its host answers."""
        if vm.lcm_state is not LcmState.RUNNING:
            raise OneError(f"VM {vm.id} is not RUNNING but {vm.state_name}")
        vm.lcm_state = LcmState.UNKNOWN
        return vm

    def disk_path(self, vm: VirtualMachine, disk_id: int) -> str:
        """Where the disk's link is on the VM's host, as oned prints it."""
        return self.lines.disk_path(vm, vm.disk(disk_id))

    def close(self) -> None:
        """Power all guests off and stop answering."""
        self.hypervisor.close()
        self.market.stop()
        self.xmlrpc.stop()


def _template(disk: Disk) -> DiskTemplate:
    if isinstance(disk, Image):
        return {"IMAGE_ID": disk.id}
    return {"IMAGE_ID": disk} if isinstance(disk, int) else disk
