# SPDX-License-Identifier: Apache-2.0
"""<IMAGE>, <DATASTORE>, <HOST> and <VM> (OpenNebula 5.12 ... 7.4)."""

from __future__ import annotations

from linstor_helper.onexml.reading import Node, parse
from linstor_helper.onexml.records import Datastore, Disk, Host, Image, Vm
from linstor_helper.units import Size

_DISK_RESIZE = "29"
"""ACTION of a history record that a resize has ended (VMActions.h)."""


def parse_vm(document: bytes, origin: str = "the XML of the VM") -> Vm:
    """Reads a <VM>.  Raises UsageError, which names the element and the ``origin`` of the document."""
    return vm_of(parse(document, "VM", origin))


def parse_datastore(document: bytes, origin: str = "the XML of the datastore") -> Datastore:
    """Reads a <DATASTORE>; see ``parse_vm``."""
    return datastore_of(parse(document, "DATASTORE", origin))


def parse_image(document: bytes, origin: str = "the XML of the image") -> Image:
    """Reads an <IMAGE>; see ``parse_vm``."""
    return image_of(parse(document, "IMAGE", origin))


def parse_host(document: bytes, origin: str = "the XML of the host") -> Host:
    """Reads a <HOST>; see ``parse_vm``."""
    node = parse(document, "HOST", origin)
    return Host(
        node.number("ID"), node.required("NAME"), node.number("STATE"), node.child("VMS").numbers("ID")
    )


def image_of(node: Node) -> Image:
    template = node.find("TEMPLATE")
    attributes = {} if template is None else template.scalars()
    vms = node.find("VMS")
    return Image(
        id=node.optional_id("ID"),
        path=node.text("PATH"),
        source=node.text("SOURCE"),
        size=node.mebibytes("SIZE"),
        # OpenNebula 5.12 calls it FSTYPE.
        format=(node.text("FORMAT") or node.text("FSTYPE")).strip().lower(),
        fs=node.text("FS").strip(),
        type=node.optional_number("TYPE"),
        persistent=node.flag("PERSISTENT"),
        target_snapshot=node.optional_id("TARGET_SNAPSHOT"),
        cloning_id=node.optional_id("CLONING_ID"),
        datastore_id=node.optional_id("DATASTORE_ID"),
        md5=attributes.get("MD5", "").strip(),
        sha1=attributes.get("SHA1", "").strip(),
        template=attributes,
        vms=() if vms is None else vms.numbers("ID"),
    )


def datastore_of(node: Node) -> Datastore:
    return Datastore(
        id=node.number("ID"),
        name=node.required("NAME"),
        type=node.number("TYPE"),
        tm_mad=node.text("TM_MAD").strip(),
        ds_mad=node.text("DS_MAD").strip(),
        base_path=node.text("BASE_PATH"),
        template=node.child("TEMPLATE").scalars(),
    )


def vm_of(node: Node) -> Vm:
    history = _history(node)
    last = history[-1] if history else None
    template, user_template = node.child("TEMPLATE"), node.find("USER_TEMPLATE")
    return Vm(
        id=node.number("ID"),
        name=node.text("NAME"),
        state=node.number("STATE"),
        lcm_state=node.number("LCM_STATE"),
        disks=tuple(_disk_of(disk) for disk in template.children("DISK")),
        host=None if last is None else last.required("HOSTNAME"),
        system_ds_id=None if last is None else last.number("DS_ID"),
        system_tm="" if last is None else last.text("TM_MAD").strip(),
        host_ids={one.required("HOSTNAME"): one.number("HID") for one in history if one.text("HID")},
        stays=len(history),
        resizes=sum(record.text("ACTION").strip() == _DISK_RESIZE for record in history),
        deploy_id=node.text("DEPLOY_ID").strip(),
        attributes={**template.scalars(), **({} if user_template is None else user_template.scalars())},
        snapshots=_snapshots_of(node),
    )


def _snapshots_of(vm: Node) -> dict[tuple[int, int], int]:
    return {
        (record.number("DISK_ID"), one.number("ID")): one.number("DATE")
        for record in vm.children("SNAPSHOTS")
        for one in record.children("SNAPSHOT")
    }


def _disk_of(node: Node) -> Disk:
    return Disk(
        id=node.number("DISK_ID"),
        source=node.text("SOURCE"),
        image_id=node.optional_id("IMAGE_ID"),
        datastore_id=node.optional_id("DATASTORE_ID"),
        clone=node.optional_flag("CLONE"),
        save=node.flag("SAVE"),
        readonly=node.flag("READONLY"),
        shareable=node.flag("SHAREABLE"),
        persistent=node.flag("PERSISTENT"),
        type=node.text("TYPE").strip(),
        tm_mad=node.text("TM_MAD").strip(),
        size=node.mebibytes("SIZE") or Size(0),
        original_size=node.mebibytes("ORIGINAL_SIZE"),
        # OpenNebula 5.12 has no FORMAT in the disk of an image, but the image's DRIVER.
        format=(node.text("FORMAT") or node.text("DRIVER")).strip().lower(),
        fs=node.text("FS").strip(),
        attributes=node.scalars(),
    )


def _history(vm: Node) -> list[Node]:
    """The history records, the newest last; documents on stdin have only that one."""
    records = vm.find("HISTORY_RECORDS")
    history = [] if records is None else records.children("HISTORY")
    return sorted(history, key=lambda record: record.number("SEQ"))
