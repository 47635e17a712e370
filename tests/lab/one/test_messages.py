# SPDX-License-Identifier: Apache-2.0
"""What users see of a driver's standard error, by version of OpenNebula."""

from __future__ import annotations

import re

import pytest

from lab.one import messages
from lab.one.version import ERROR_CLOSE, ERROR_OPEN, OneVersion

MARKED = f"INFO: 1 started\n{ERROR_OPEN}\nno space\n{ERROR_CLOSE}\nlater\n"


@pytest.mark.parametrize(
    ("version", "stderr", "seen"),
    [
        ("5.12.0", MARKED, "no space"),
        ("5.12.0", "no space\n", "-"),
        ("6.10.5", "INFO: started\nno space\n", "INFO: started no space"),
        ("6.10.5", "", "-"),
        ("7.4.0", "INFO: started\nno space\n  at all \nERROR: 12 seen\n", "no spaceat all"),
        ("7.4.0", "ERROR: no space\n", ""),
        ("7.4.0", "WARNING: careful\nERROR:nospace\n", "WARNING: carefulERROR:nospace"),
        ("7.4.0", MARKED, f"{ERROR_OPEN}no space{ERROR_CLOSE}later"),
    ],
)
def test_text_for_the_user(version: str, stderr: str, seen: str) -> None:
    assert messages.user_error(OneVersion.parse(version), stderr) == seen


def test_an_empty_text_or_a_dash_adds_nothing() -> None:
    assert messages.with_reason("Error", "") == "Error"
    assert messages.with_reason("Error", "-") == "Error"
    assert messages.with_reason("Error", "why") == "Error: why"


@pytest.mark.parametrize(("length", "cut"), [(99, False), (100, True), (101, True)])
def test_vm_errors_keep_100_characters(length: int, cut: bool) -> None:
    text = messages.vm_error_attribute(OneVersion.parse("7.4.0"), "x" * length)
    assert text.count("x") == min(length, 100)
    assert text.endswith("... see more details in VM log") is cut
    assert re.match(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}: x", text)


def test_old_vm_errors_are_not_cut() -> None:
    assert messages.vm_error_attribute(OneVersion.parse("5.12.0"), "x" * 300).endswith(" : " + "x" * 300)


def test_versions() -> None:
    assert OneVersion.parse("7.4") == OneVersion(7, 4, 0)
    assert str(OneVersion.parse(" 6.10.5\n")) == "6.10.5"
    with pytest.raises(ValueError, match="not an OpenNebula version"):
        OneVersion.parse("7")
