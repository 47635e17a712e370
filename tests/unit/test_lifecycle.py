# SPDX-License-Identifier: Apache-2.0
"""What each LCM_STATE means, by the names that OpenNebula gives to the numbers."""

from __future__ import annotations

import pytest

from lab.one import LcmState
from linstor_helper import lifecycle

NUMBERS = range(100)
"""Those of today's states, and of some that may come."""


def named(*names: str) -> set[int]:
    return {int(LcmState[name]) for name in names}


def test_states_in_which_the_disks_are_needed_nowhere() -> None:
    assert set(filter(lifecycle.leaves_all_hosts, NUMBERS)) == named(
        "EPILOG_STOP", "EPILOG_STOP_FAILURE", "EPILOG_UNDEPLOY", "EPILOG_UNDEPLOY_FAILURE"
    )


def test_states_in_which_the_vm_comes_from_the_front_end() -> None:
    assert set(filter(lifecycle.comes_from_front_end, NUMBERS)) == named(
        "PROLOG_RESUME", "PROLOG_RESUME_FAILURE", "PROLOG_UNDEPLOY", "PROLOG_UNDEPLOY_FAILURE"
    )


def test_states_in_which_the_old_host_is_lost() -> None:
    assert set(filter(lifecycle.source_is_lost, NUMBERS)) == named(
        "PROLOG_MIGRATE_UNKNOWN", "PROLOG_MIGRATE_UNKNOWN_FAILURE", "UNKNOWN"
    )


def test_states_without_memory_to_restore() -> None:
    assert set(filter(lifecycle.was_powered_off, NUMBERS)) == named(
        "PROLOG_MIGRATE_POWEROFF", "PROLOG_MIGRATE_POWEROFF_FAILURE"
    )


def test_states_in_which_disks_of_an_earlier_time_are_used() -> None:
    always = named("BOOT_UNKNOWN", "BOOT_POWEROFF", "BOOT_SUSPENDED", "BOOT_MIGRATE")
    assert {one for one in NUMBERS if lifecycle.boots_in_place(one, 1)} == always
    assert {one for one in NUMBERS if lifecycle.boots_in_place(one, 2)} == always | named("BOOT")


@pytest.mark.parametrize(
    ("system_tm", "rescue", "otherwise"),
    [
        ("linstor", True, True),
        ("ssh", True, False),
        ("local", True, False),
        ("somebody's", True, False),
        ("shared", False, False),
        ("qcow2", False, False),
    ],
)
def test_who_makes_links(system_tm: str, rescue: bool, otherwise: bool) -> None:
    for number in NUMBERS:
        wanted = rescue if lifecycle.source_is_lost(number) else otherwise
        assert lifecycle.mv_makes_links(system_tm, number) is wanted, number
    assert lifecycle.has_directory_per_host(system_tm) is rescue
