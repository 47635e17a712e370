# SPDX-License-Identifier: Apache-2.0
"""OpenNebula's XML as typed records; the only place that knows an XML library."""

from __future__ import annotations

from linstor_helper.onexml.action import MAX_BYTES, DriverAction, drain, read_action, read_vm
from linstor_helper.onexml.objects import parse_datastore, parse_host, parse_image, parse_vm
from linstor_helper.onexml.records import Datastore, Disk, Host, Image, Vm, boolean

__all__ = [
    "MAX_BYTES",
    "Datastore",
    "Disk",
    "DriverAction",
    "Host",
    "Image",
    "Vm",
    "boolean",
    "drain",
    "parse_datastore",
    "parse_host",
    "parse_image",
    "parse_vm",
    "read_action",
    "read_vm",
]
