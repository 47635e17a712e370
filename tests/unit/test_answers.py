# SPDX-License-Identifier: Apache-2.0
"""What oned makes of our answers, for all versions; the lab's reader of error texts is the judge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.one import messages
from lab.one.version import OneVersion
from linstor_helper import answers
from linstor_helper.units import MIB, Size

VERSIONS = [(5, 12, 0), (6, 0, 0), (6, 10, 5), (7, 0, 0), (7, 4, 0)]


def shown(text: str, version: tuple[int, int, int]) -> str:
    """What the user sees of a failure with that text."""
    return messages.user_error(OneVersion(*version), answers.error_lines(text, version))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_user_sees_the_message_and_nothing_else(version: tuple[int, int, int]) -> None:
    text = "no space for a volume of 1 GiB in one: 2 nodes have 12 MiB. Add a pool"
    assert shown(text, version) == text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ERROR: it broke", "it broke"),
        ("INFO: 12 it broke", "12 it broke"),
        ("WARN:\tDEBUG: error: it broke", "it broke"),
        ("WARNING : it broke", "it broke"),
        ("- it broke", "it broke"),
        ("--- ERROR: -x", "x"),
        ("it broke:\n  ERROR: on bob\r\n", "it broke: ERROR: on bob"),
        ("ERROR MESSAGE --8<------\nit broke\nERROR MESSAGE ------>8--", "it broke"),
        ("bell\x07 and \x1b[31mcolour", "bell and [31mcolour"),
        ("half a \udcff character", "half a character"),
        ("", "the driver failed without a message"),
        ("ERROR: -", "the driver failed without a message"),
        ("Error message of the controller", "Error message of the controller"),
        ("ERRORS: many", "ERRORS: many"),
    ],
)
def test_texts_that_oned_would_misread(text: str, message: str, version: tuple[int, int, int]) -> None:
    assert shown(text, version) == message


def test_markers_are_for_5_12_only() -> None:
    assert "--8<--" in answers.error_lines("it broke", (5, 12, 14))
    assert answers.error_lines("it broke", (6, 0)) == "it broke\n"


@given(st.text(), st.sampled_from(VERSIONS))
def test_there_is_always_one_message(text: str, version: tuple[int, int, int]) -> None:
    found = shown(text, version)
    assert found
    assert not found.startswith("-")
    assert "\n" not in found
    answers.error_lines(text, version).encode("utf-8")
    # Without a reason oned shows its own sentence only.
    assert messages.with_reason("Error copying image", found) != "Error copying image"


def test_source() -> None:
    """mkfs: from 6.0 on the whole line becomes SOURCE, so nothing may stand behind it."""
    assert answers.source("OpenNebula-Image-5") == "OpenNebula-Image-5\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_source_and_format(version: tuple[int, int, int]) -> None:
    line = answers.source_and_format("OpenNebula-Image-5", "raw", version)
    prints_format = OneVersion(*version).copy_prints_format
    assert line == ("OpenNebula-Image-5 raw\n" if prints_format else "OpenNebula-Image-5\n")


@pytest.mark.parametrize("resource", ["", "two words", " lead", "trail\n"])
def test_an_answer_that_oned_would_split_is_a_bug(resource: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        answers.source(resource)
    with pytest.raises(ValueError, match="one word"):
        answers.source_and_format("OpenNebula-Image-5", resource, (7, 4))


@pytest.mark.parametrize(("size", "answer"), [(0, "0\n"), (1, "1\n"), (MIB, "1\n"), (MIB + 1, "2\n")])
def test_stat_rounds_up(size: int, answer: str) -> None:
    assert answers.stat(Size(size)) == answer


def test_monitor() -> None:
    assert (
        answers.monitor(total=Size.of_mib(100), free=Size.of_mib(30))
        == "USED_MB=70\nTOTAL_MB=100\nFREE_MB=30\n"
    )


def test_monitor_promises_no_more_than_there_is() -> None:
    found = answers.monitor(total=Size(10 * MIB - 1), free=Size(5 * MIB - 1))
    assert found == "USED_MB=5\nTOTAL_MB=9\nFREE_MB=4\n"


def test_monitor_of_an_overbooked_group_stays_within_its_capacity() -> None:
    """LINSTOR's free space may exceed the capacity when pools are overprovisioned."""
    assert (
        answers.monitor(total=Size.of_mib(10), free=Size.of_mib(200))
        == "USED_MB=0\nTOTAL_MB=10\nFREE_MB=10\n"
    )
