# SPDX-License-Identifier: Apache-2.0
"""The XML documents of OpenNebula's API and of its drivers, in the shapes that oned 7.4 was seen to send.

Releases before 7.4 leave elements out; `OneVersion.has` says which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from lab.one.model import DISK_TYPE_NUMBERS, Datastore, HistoryRecord, Host, Image, ImageType, VirtualMachine
from lab.one.snapshots import Snapshots
from lab.one.version import OneVersion
from lab.one.xml import Attribute, cdata, element, field, template

_OWNER = (
    field("UID", 0),
    field("GID", 0),
    field("UNAME", "oneadmin"),
    field("GNAME", "oneadmin"),
)


def _permissions(group_use: int) -> str:
    bits = {"OWNER_U": 1, "OWNER_M": 1, "OWNER_A": 0, "GROUP_U": group_use}
    rest = ("GROUP_M", "GROUP_A", "OTHER_U", "OTHER_M", "OTHER_A")
    return element("PERMISSIONS", *(field(k, v) for k, v in bits.items()), *(field(name, 0) for name in rest))


def _ids(tag: str, ids: Iterable[int]) -> str:
    return element(tag, *(field("ID", one) for one in ids))


def _known(attributes: Mapping[str, Attribute], version: OneVersion) -> dict[str, Attribute]:
    return {key: value for key, value in attributes.items() if version.has(key)}


def datastore(ds: Datastore, version: OneVersion) -> str:
    """``<DATASTORE>``; capacity in MiB."""
    kind = 1 if ds.is_system else 0
    return element(
        "DATASTORE",
        field("ID", ds.id),
        *_OWNER,
        field("NAME", ds.name),
        _permissions(group_use=1),
        cdata("DS_MAD", ds.ds_mad),
        cdata("TM_MAD", ds.tm_mad),
        cdata("BASE_PATH", ds.base_path),
        field("TYPE", kind),
        field("DISK_TYPE", DISK_TYPE_NUMBERS[ds.disk_type]),
        field("STATE", 0),
        _ids("CLUSTERS", [0]),
        field("TOTAL_MB", ds.total_mb),
        field("FREE_MB", ds.free_mb),
        field("USED_MB", ds.used_mb),
        _ids("IMAGES", ds.images),
        template("TEMPLATE", _known(ds.template, version)),
    )


def image(img: Image, ds: Datastore, version: OneVersion) -> str:
    """``<IMAGE>`` of an image in datastore `ds`; SIZE in MiB."""

    def optional(tag: str, xml: str) -> str:
        return xml if version.has(tag) else ""

    return element(
        "IMAGE",
        field("ID", img.id),
        *_OWNER,
        field("NAME", img.name),
        _permissions(group_use=0),
        field("TYPE", int(img.type)),
        field("DISK_TYPE", DISK_TYPE_NUMBERS[ds.disk_type]),
        field("PERSISTENT", int(img.persistent)),
        field("REGTIME", img.regtime),
        optional("MODTIME", field("MODTIME", img.regtime)),
        cdata("SOURCE", img.source),
        cdata("PATH", img.path),
        cdata(version.image_format_tag, img.format),
        optional("FS", cdata("FS", img.fs)),
        field("SIZE", img.size_mb),
        field("STATE", int(img.state)),
        optional("PREV_STATE", field("PREV_STATE", int(img.prev_state))),
        field("RUNNING_VMS", len(img.vms)),
        field("CLONING_OPS", img.cloning_ops),
        field("CLONING_ID", img.cloning_id),
        field("TARGET_SNAPSHOT", img.target_snapshot),
        field("DATASTORE_ID", ds.id),
        field("DATASTORE", ds.name),
        _ids("VMS", img.vms),
        field("CLONES"),
        field("APP_CLONES"),
        template("TEMPLATE", img.template),
        _snapshots(img.snapshots),
        optional("BACKUP_INCREMENTS", field("BACKUP_INCREMENTS")),
        optional("BACKUP_DISK_IDS", field("BACKUP_DISK_IDS")),
    )


def virtual_machine(vm: VirtualMachine, version: OneVersion) -> str:
    """``<VM>`` as one.vm.info answers it, all history records included."""
    return _virtual_machine(vm, vm.history, version)


def driver_virtual_machine(vm: VirtualMachine, version: OneVersion) -> str:
    """``<VM>`` as the steps of a hypervisor action get it: only the newest history record.

    The Ruby process in between writes empty elements in their short form.
    """
    return re.sub(r"<(\w+)></\1>", r"<\1/>", _virtual_machine(vm, vm.history[-1:], version))


def _virtual_machine(vm: VirtualMachine, history: Iterable[HistoryRecord], version: OneVersion) -> str:
    attributes: dict[str, Attribute] = {
        "AUTOMATIC_DS_REQUIREMENTS": '("CLUSTERS/ID" @> 0)',
        "AUTOMATIC_NIC_REQUIREMENTS": '("CLUSTERS/ID" @> 0)',
        "AUTOMATIC_REQUIREMENTS": "(CLUSTER_ID = 0) & !(PIN_POLICY = PINNED)",
        "CPU": "0.1",
        "MEMORY": "64",
        "OS": {"ARCH": "x86_64", "MACHINE": "q35", "UUID": f"00000000-0000-4000-8000-{vm.id:012x}"},
        "SUBMIT_ON_HOLD": "YES",
        "VMID": vm.id,
        "DISK": [{k: v for k, v in disk.items() if version.has(k)} for disk in vm.disks],
    }
    if vm.context is not None:
        attributes["CONTEXT"] = vm.context
    if vm.tm_mad_system:
        attributes["TM_MAD_SYSTEM"] = vm.tm_mad_system
    backups = element("BACKUPS", field("BACKUP_CONFIG"), field("BACKUP_IDS"))
    return element(
        "VM",
        field("ID", vm.id),
        *_OWNER,
        field("NAME", vm.name),
        _permissions(group_use=0),
        field("LAST_POLL", 0),
        field("STATE", int(vm.state)),
        field("LCM_STATE", int(vm.lcm_state)),
        field("PREV_STATE", int(vm.state)),
        field("PREV_LCM_STATE", int(vm.lcm_state)),
        field("RESCHED", 0),
        field("STIME", vm.stime),
        field("ETIME", vm.etime),
        field("DEPLOY_ID", vm.deploy_id),
        field("MONITORING"),
        field("SCHED_ACTIONS"),
        template("TEMPLATE", attributes),
        template("USER_TEMPLATE", vm.user_template),
        element("HISTORY_RECORDS", *(_history(vm.id, record, version) for record in history)),
        *(_snapshots(vm.snapshots[one], one) for one in sorted(vm.snapshots)),
        backups if version.has("BACKUPS") else "",
    )


def _snapshots(record: Snapshots | None, disk_id: int | None = None) -> str:
    """``<SNAPSHOTS>`` of an image, or of the disk of a VM; a record that was cleared is empty."""
    if record is None:
        return field("SNAPSHOTS")
    vectors = []
    for one in record.records.values():
        values: dict[str, str | int] = {"DATE": one.date, "ID": one.id, "PARENT": -1, "SIZE": one.size}
        if one.name:
            values["NAME"] = one.name
        if one.id == record.active:
            values["ACTIVE"] = "YES"
        vectors.append(values)
    attributes: dict[str, Attribute] = {
        "ALLOW_ORPHANS": "YES" if record.next_id else "NO",
        "CURRENT_BASE": -1,
        "NEXT_SNAPSHOT": record.next_id,
        "SNAPSHOT": vectors,
    }
    if disk_id is not None:
        attributes["DISK_ID"] = disk_id
    return template("SNAPSHOTS", attributes)


def _history(vm_id: int, record: HistoryRecord, version: OneVersion) -> str:
    plan = (field("PLAN_ID", -2), field("ACTION_ID", -1)) if version.has("PLAN_ID") else ()
    return element(
        "HISTORY",
        field("OID", vm_id),
        field("SEQ", record.seq),
        field("HOSTNAME", record.host),
        field("HID", record.host_id),
        field("CID", 0),
        field("STIME", record.stime),
        field("ETIME", record.etime),
        cdata("VM_MAD", "kvm"),
        cdata("TM_MAD", record.tm_mad),
        field("DS_ID", record.ds_id),
        *plan,
        field("PSTIME", record.pstime),
        field("PETIME", record.petime),
        field("RSTIME", record.rstime),
        field("RETIME", record.retime),
        field("ESTIME", record.estime),
        field("EETIME", record.eetime),
        field("ACTION", int(record.action)),
        field("UID", 0 if record.action else -1),
        field("GID", 0 if record.action else -1),
        field("REQUEST_ID", record.stime % 10000 if record.action else -1),
    )


def host(one: Host, vms: Sequence[int]) -> str:
    """``<HOST>`` with the VMs that take up its capacity; memory in KiB, CPU in percent."""
    share = (
        ("MEM_USAGE", 0),
        ("CPU_USAGE", 0),
        ("TOTAL_MEM", 16777216),
        ("TOTAL_CPU", 800),
        ("MAX_MEM", 16777216),
        ("MAX_CPU", 800),
        ("RUNNING_VMS", len(vms)),
        ("VMS_THREAD", 1),
    )
    return element(
        "HOST",
        field("ID", one.id),
        field("NAME", one.name),
        field("STATE", int(one.state)),
        field("PREV_STATE", int(one.state)),
        cdata("IM_MAD", "kvm"),
        cdata("VM_MAD", "kvm"),
        field("CLUSTER_ID", 0),
        field("CLUSTER", "default"),
        element("HOST_SHARE", *(field(key, value) for key, value in share)),
        _ids("VMS", vms),
        template("TEMPLATE", {"ARCH": "x86_64", "HYPERVISOR": "kvm", "HOSTNAME": one.name}),
        field("MONITORING"),
    )


def host_pool(hosts: Iterable[tuple[Host, Sequence[int]]]) -> str:
    return element("HOST_POOL", *(host(one, vms) for one, vms in hosts))


def driver_action(*children: str) -> str:
    """``<DS_DRIVER_ACTION_DATA>``, what a datastore action gets (base64 on the wire)."""
    return element("DS_DRIVER_ACTION_DATA", *children)


def stat_image(path: str, image_type: ImageType, size: str, version: OneVersion) -> str:
    """The ``<IMAGE>`` of a ``stat`` action: no id yet and PATH in plain text.

    7.x adds the SIZE of the user's template (mostly empty), not for a CDROM.
    """
    with_size = version.stat_shows_size and image_type is not ImageType.CDROM
    return element("IMAGE", field("PATH", path), field("SIZE", size) if with_size else "")
