# SPDX-License-Identifier: Apache-2.0
"""Building XML in OpenNebula's shapes: plain elements for its own fields, CDATA in templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Union
from xml.sax.saxutils import escape

Value = Union[str, int, None]
Attribute = Union[str, int, Mapping[str, Union[str, int]], Iterable[Mapping[str, Union[str, int]]]]


def field(tag: str, value: Value = None) -> str:
    """``<TAG>escaped text</TAG>``."""
    return f"<{tag}>{'' if value is None else escape(str(value))}</{tag}>"


def cdata(tag: str, value: Value) -> str:
    """``<TAG><![CDATA[text]]></TAG>``; a closing sequence in the text is split as OpenNebula does."""
    text = "" if value is None else str(value).replace("]]>", "]]]]><![CDATA[>")
    return f"<{tag}><![CDATA[{text}]]></{tag}>"


def element(tag: str, *children: str) -> str:
    """``<TAG>`` around children that are XML already."""
    return f"<{tag}>{''.join(children)}</{tag}>"


def vector(tag: str, attributes: Mapping[str, str | int]) -> str:
    """A template vector such as DISK: attributes in alphabetical order."""
    return element(tag, *(cdata(key, attributes[key]) for key in sorted(attributes)))


def template(tag: str, attributes: Mapping[str, Attribute]) -> str:
    """A template: names in alphabetical order, mappings are vectors, lists are repeated vectors."""
    parts: list[str] = []
    for key in sorted(attributes):
        value = attributes[key]
        if isinstance(value, (str, int)):
            parts.append(cdata(key, value))
        elif isinstance(value, Mapping):
            parts.append(vector(key, value))
        else:
            parts.extend(vector(key, one) for one in value)
    return element(tag, *parts)


_PART = re.compile(r"<(\w+)>((?:<!\[CDATA\[.*?\]\]>|[^<])*)</\1>|<(\w+)>|</\w+>", re.S)


def indented(xml: str) -> str:
    """A document as OpenNebula's Ruby processes pass it on: one element a line, empty ones in their short form."""
    lines, depth = [], 0
    for part in _PART.finditer(xml):
        leaf, text, opened = part.groups()
        if leaf is None and opened is None:
            depth -= 1
        shown = f"<{leaf}/>" if leaf is not None and not text else part.group()
        lines.append("  " * depth + shown)
        if opened is not None:
            depth += 1
    return "\n".join(lines)
