# SPDX-License-Identifier: Apache-2.0
"""Hosts of the lab: devices with real content, isolated views of them, ssh, and processes that hold disks."""

from lab.devices_protocol import DeviceBusy
from lab.hosts.domains import ABSENT, DISCONNECTED, RUNNING, Agent
from lab.hosts.faults import SshFault
from lab.hosts.guest import Guest
from lab.hosts.hosts import Hosts

__all__ = ["ABSENT", "DISCONNECTED", "RUNNING", "Agent", "DeviceBusy", "Guest", "Hosts", "SshFault"]
