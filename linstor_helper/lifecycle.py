# SPDX-License-Identifier: Apache-2.0
"""What the state of a VM means for its disks (LCM_STATE of OpenNebula 5.12 ... 7.4, VirtualMachine.h).

Releases add states: one that is not named here is none of the special cases.
"""

from __future__ import annotations

DRIVER = "linstor"
"""TM_MAD of our datastores: the name of the directory that holds the executables."""

_ONE_DIRECTORY_FOR_ALL = frozenset({"shared", "qcow2"})
"""System datastores on a file system that all hosts and the front-end share."""

_EPILOGS_TO_FRONT_END = frozenset({10, 41, 30, 42})
_PROLOGS_FROM_FRONT_END = frozenset({9, 49, 31, 50})
_PROLOG_MIGRATE_POWEROFF = frozenset({43, 44})
_HOST_IS_LOST = frozenset({60, 61})
_UNKNOWN = 16
_HOTPLUG_SAVEAS = 26
_DISK_RESIZE = 62
_BOOT = 2
_BOOTS_IN_PLACE = frozenset({19, 20, 21, 35})


def leaves_all_hosts(lcm_state: int) -> bool:
    """Whether the VM is being stopped or undeployed, so that its disks are needed nowhere."""
    return lcm_state in _EPILOGS_TO_FRONT_END


def comes_from_front_end(lcm_state: int) -> bool:
    """Whether a stopped or undeployed VM is being resumed: it has no disks where it comes from."""
    return lcm_state in _PROLOGS_FROM_FRONT_END


def source_is_lost(lcm_state: int) -> bool:
    """Whether the VM moves because its host does not answer: nothing may be asked of that host."""
    return lcm_state in _HOST_IS_LOST or lcm_state == _UNKNOWN


def was_powered_off(lcm_state: int) -> bool:
    """Whether a VM without memory to restore moves: its directory holds nothing that cannot be made again."""
    return lcm_state in _PROLOG_MIGRATE_POWEROFF


def boots_in_place(lcm_state: int, stays: int = 1) -> bool:
    """Whether the VM may start with the disks of an earlier time; ``stays`` is the number of its history records.

    ``onevm recover --failure`` of a half-done migration sends the VM back to its old host without a call for the disks
    that had moved on already: in BOOT_MIGRATE, or in BOOT when it has no memory to restore.  BOOT of a VM without a
    past follows its prolog at once.
    """
    return lcm_state in _BOOTS_IN_PLACE or (lcm_state == _BOOT and stays > 1)


def saves_running(lcm_state: int) -> bool:
    """Whether a disk is saved as an image while its VM runs."""
    return lcm_state == _HOTPLUG_SAVEAS


def resizes_running(lcm_state: int) -> bool:
    """Whether a disk is resized while its VM runs: the hypervisor is told next."""
    return lcm_state == _DISK_RESIZE


def has_directory_per_host(system_tm: str) -> bool:
    """Whether a VM's directory is another one on each host, so that a running VM's links have to be made on its next
    host.  A shared directory has them already, and they are those of the running VM."""
    return system_tm not in _ONE_DIRECTORY_FOR_ALL


def mv_makes_links(system_tm: str, lcm_state: int) -> bool:
    """Whether ``mv`` of a disk links it on its new host.

    A system datastore of another driver moves the links with the VM's directory.  The ssh driver empties the
    directory on the new host before, and ``shared`` puts the old one into a directory that is there already.  Only
    when the old host is lost the directory does not move, and ``shared`` has it on the new host anyway.
    """
    if system_tm == DRIVER:
        return True
    return has_directory_per_host(system_tm) and source_is_lost(lcm_state)
