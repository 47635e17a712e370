# SPDX-License-Identifier: Apache-2.0
"""Parsing XML that must not be trusted, and reading values out of it."""

from __future__ import annotations

import re
from typing import NamedTuple

from lxml import etree

from linstor_helper.errors import UsageError
from linstor_helper.onexml.records import boolean
from linstor_helper.units import Size

_NUMBER = re.compile(r"-?[0-9]{1,18}\Z")


class Node(NamedTuple):
    """An element, its path from the root and where the document came from."""

    element: etree._Element
    path: str
    origin: str

    def find(self, tag: str) -> Node | None:
        """The first child of that name."""
        found = self.element.find(tag)
        return None if found is None else Node(found, f"{self.path}/{tag}", self.origin)

    def child(self, tag: str) -> Node:
        """Raises UsageError when there is none."""
        found = self.find(tag)
        if found is None:
            raise UsageError(f"{self.path}/{tag} is missing in {self.origin}")
        return found

    def children(self, tag: str) -> list[Node]:
        return [Node(found, f"{self.path}/{tag}", self.origin) for found in self.element.findall(tag)]

    def text(self, tag: str) -> str:
        """The text of a child as it stands; empty when there is no such child."""
        return self.element.findtext(tag) or ""

    def required(self, tag: str) -> str:
        """Raises UsageError when the child is missing or empty."""
        text = self.child(tag).element.text or ""
        if not text.strip():
            raise UsageError(f"{self.path}/{tag} is empty in {self.origin}")
        return text

    def number(self, tag: str) -> int:
        """Raises UsageError when the child is missing or not an integer."""
        return self._number(tag, self.required(tag))

    def numbers(self, tag: str) -> tuple[int, ...]:
        """Of all children of that name.  Raises UsageError when one is not an integer."""
        return tuple(self._number(tag, child.element.text or "") for child in self.children(tag))

    def optional_number(self, tag: str) -> int | None:
        """None when the child is missing or empty."""
        text = self.text(tag)
        return self._number(tag, text) if text.strip() else None

    def optional_id(self, tag: str) -> int | None:
        """As ``optional_number``, and None for -1, which is OpenNebula's word for "no object"."""
        number = self.optional_number(tag)
        return None if number is None or number < 0 else number

    def mebibytes(self, tag: str) -> Size | None:
        """A size that OpenNebula writes in MB; None when the child is missing or empty."""
        number = self.optional_number(tag)
        if number is None:
            return None
        if number < 0:
            raise UsageError(f"{self.path}/{tag} is negative in {self.origin}: {number}")
        return Size.of_mib(number)

    def optional_flag(self, tag: str) -> bool | None:
        """None when the child is missing or empty; raises UsageError for anything but YES, NO, 1 and 0.

        Guessing would be dangerous: CLONE decides whether a volume may be destroyed.
        """
        text = self.text(tag)
        if not text.strip():
            return None
        flag = boolean(text)
        if flag is None:
            raise UsageError(f"{self.path}/{tag} is neither YES nor NO in {self.origin}: {_shown(text)}")
        return flag

    def flag(self, tag: str) -> bool:
        """As ``optional_flag``; what is missing counts as NO."""
        return bool(self.optional_flag(tag))

    def scalars(self) -> dict[str, str]:
        """The children that hold text only; the first of several with one name counts."""
        values: dict[str, str] = {}
        for child in self.element:
            if len(child) == 0:
                values.setdefault(str(child.tag), child.text or "")
        return values

    def _number(self, tag: str, text: str) -> int:
        if _NUMBER.match(text.strip()) is None:
            raise UsageError(f"{self.path}/{tag} is not a number in {self.origin}: {_shown(text)}")
        return int(text)


def parse(document: bytes, root: str, origin: str) -> Node:
    """The root element, which has to be a <root>.

    Raises UsageError when the document is not UTF-8, not XML, has a DOCTYPE, or has another root.  Entities
    of the document are never expanded, nothing is fetched, and libxml2's limits on depth and text are kept.
    """
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        element = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UsageError(f"{origin} cannot be parsed", details=_shown(str(error))) from None
    information = element.getroottree().docinfo
    if information.doctype or information.internalDTD is not None:
        raise UsageError(f"{origin} has a DOCTYPE, which OpenNebula never sends")
    if element.tag != root:
        raise UsageError(f"{origin} is a <{_shown(str(element.tag))}>, not a <{root}>")
    return Node(element, f"/{root}", origin)


def _shown(text: str) -> str:
    """As much of a foreign text as an error message can carry."""
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."
