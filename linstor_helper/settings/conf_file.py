# SPDX-License-Identifier: Apache-2.0
"""Files of ``KEY=value`` lines in the syntax of the shell, read without running one.

Accepted is what means the same to a shell and to a reader: comments, blank lines, ``export``, single and
double quotes, backslashes.  What a shell would expand or execute is an error: a file never means two things.
"""

from __future__ import annotations

import re

from linstor_helper.errors import ConfigError

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_PLAIN = re.compile(r"[^ \t\n\r'\"\\$`;&|<>()#~]+")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\$`]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\$`])')
_END = re.compile(r"[ \t]*(?:[ \t]#.*)?\Z", re.DOTALL)


def read(path: str) -> dict[str, str]:
    """The values of a file; none when it does not exist.  A later line replaces an earlier one.

    Raises ConfigError, which names the file and the line.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().split("\n")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    values: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip(" \t")[:1] in ("", "#"):
            continue
        try:
            key, value = parse_line(line)
        except ValueError as error:
            raise ConfigError(f"{path} line {number}: {error}") from None
        values[key] = value
    return values


def parse_line(line: str) -> tuple[str, str]:
    """Key and value of one assignment.  Raises ValueError that says what is wrong with it."""
    assignment = _ASSIGNMENT.match(line)
    if assignment is None:
        raise ValueError("expected KEY=value")
    position = assignment.end()
    parts: list[str] = []
    while _END.match(line, position) is None:
        part, position = _part(line, position)
        parts.append(part)
    return assignment.group(1), "".join(parts)


def _part(line: str, position: int) -> tuple[str, int]:
    """The next piece of a value, and where the one after it begins."""
    plain = _PLAIN.match(line, position)
    if plain is not None:
        return plain.group(), plain.end()
    single = _SINGLE.match(line, position)
    if single is not None:
        return single.group(1), single.end()
    double = _DOUBLE.match(line, position)
    if double is not None:
        return _ESCAPE.sub(r"\1", double.group(1)), double.end()
    if line[position] == "\\" and position + 1 < len(line):
        return line[position + 1], position + 2
    if line[position] == "#":
        return "#", position + 1
    if line[position] in " \t":
        raise ValueError("a value with blanks needs quotes")
    if line[position] in "'\"":
        raise ValueError("a quote is not closed, or $ or ` stands in double quotes")
    raise ValueError(f"{line[position]!r} needs single quotes; the file is not run by a shell")
