# SPDX-License-Identifier: Apache-2.0
"""The administrator's table of attributes says what the code says."""

from __future__ import annotations

import pytest

from linstor_helper.settings.attributes import ATTRIBUTES, DEPRECATED, Attribute

from .sources import CHECKOUT

TEXT = (CHECKOUT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=lambda one: one.name)
def test_every_attribute_has_its_row(attribute: Attribute) -> None:
    default = f"`{attribute.default}`" if attribute.default else ""
    vm = "yes" if attribute.of_vm else ""
    assert f"| `{attribute.name}` | {attribute.kind} | {default} | {vm} | {attribute.doc} |\n" in TEXT


def test_no_row_is_left_of_an_attribute_that_is_gone() -> None:
    rows = [line for line in TEXT.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert len(rows) == len(ATTRIBUTES)


@pytest.mark.parametrize("name", DEPRECATED)
def test_deprecated_attributes_are_named(name: str) -> None:
    assert f"`{name}`" in TEXT
