# SPDX-License-Identifier: Apache-2.0
"""Commands as values; the only place that quotes for a shell.

A ``Script`` is made of words, never of text that somebody else wrote: ``command("ln", "-s", target, path)``.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Union

Word = Union[str, int]

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")


def quote(word: Word) -> str:
    """``word`` as bash must read it back; ``shlex.quote`` without its import."""
    text = str(word)
    if "\0" in text:
        raise ValueError("a NUL byte cannot be passed to a command")
    if _SAFE.match(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


class Script(NamedTuple):
    """Lines of bash.  Each line is one command; the script stops at the first that fails."""

    lines: tuple[str, ...] = ()

    def __add__(self, other: object) -> Script:
        if not isinstance(other, Script):
            return NotImplemented
        return Script(self.lines + other.lines)

    def or_else(self, other: Script) -> Script:
        """This script, and ``other`` when one of its commands fails."""
        return Script((f"{{ {self._joined(' && ')}; }} || {{ {other._joined('; ')}; }}",))

    def _joined(self, glue: str) -> str:
        return glue.join(self.lines)

    def render(self) -> bytes:
        """What goes to ``bash -s``.

        System directories are added because a non-login ssh session of a user often lacks them, and the locale is
        fixed because the output is parsed and shown.
        """
        head = "set -e -o pipefail\nexport LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n"
        return (head + "".join(line + "\n" for line in self.lines)).encode()


def command(*words: Word) -> Script:
    """One command; every word is quoted."""
    return Script((" ".join(quote(word) for word in words),))
