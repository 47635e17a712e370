# SPDX-License-Identifier: Apache-2.0
"""What an action prints: stdout as oned parses it, stderr as oned shows it to the user."""

from __future__ import annotations

import re
from collections.abc import Sequence

from linstor_helper.errors import ConfigError, one_line
from linstor_helper.host_commands import remove_exported
from linstor_helper.location import Location
from linstor_helper.shell import quote
from linstor_helper.units import Size

_SIX = (6, 0)
_MARK_OPEN = "ERROR MESSAGE --8<------"
_MARK_CLOSE = "ERROR MESSAGE ------>8--"
_LOOKS_LIKE_LOG = re.compile(r"(?:-+|(?:ERROR|INFO|WARN|WARNING|DEBUG)\s*:)\s*", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_TEXT = "the driver failed without a message"


def source(resource: str) -> str:
    """Of ``mkfs``: oned stores the whole line as SOURCE (all versions)."""
    return _word(resource) + "\n"


def source_and_format(resource: str, image_format: str, version: Sequence[int]) -> str:
    """Of ``cp`` and ``clone``: 6.0 puts an image without a format in ERROR, 5.12 knows no format there."""
    if tuple(version) < _SIX:
        return source(resource)
    return f"{_word(resource)} {_word(image_format)}\n"


def stat(size: Size) -> str:
    """Of ``stat``: MiB that the image needs at least."""
    return f"{size.mib_up}\n"


def monitor(*, total: Size, free: Size) -> str:
    """Of ``monitor``: MiB, rounded so that no more is promised than there is."""
    total_mb, free_mb = total.mib_down, min(free.mib_down, total.mib_down)
    return f"USED_MB={total_mb - free_mb}\nTOTAL_MB={total_mb}\nFREE_MB={free_mb}\n"


def import_info(location: Location, md5: str, size: Size, image_format: str) -> str:
    """Of ``export``: where a marketplace fetches an image, and how that goes away afterwards.

    The market's driver splits DISPOSE_CMD on blanks and quotes nothing.  Raises ConfigError for a path or a host that
    it could not pass on.
    """
    host, path = location
    if quote(path) != path or quote(host) != host:
        raise ConfigError(
            f"a marketplace cannot fetch {location}", hint="use only plain characters in STAGING_DIR"
        )
    values = {
        "IMPORT_SOURCE": f"ssh://{host}:{path}",
        "MD5": md5,
        "SIZE": size.mib_up,
        "FORMAT": image_format,
        "DISPOSE": "YES",
        "DISPOSE_CMD": f"ssh -o BatchMode=yes {host} {remove_exported(path).lines[0]}",
    }
    elements = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in values.items())
    return f"<IMPORT_INFO>{elements}</IMPORT_INFO>\n"


def error_lines(text: str, version: Sequence[int]) -> str:
    """The message of a failed action in the form that the installed OpenNebula shows to the user.

    5.12 shows what stands between two marker lines, 6.x all of stderr, 7.x the lines that do not look like
    log lines ("ERROR: ..."): there such a line would leave the user without any message.  All of them drop a
    message that begins with a dash.
    """
    line = one_line(_CONTROL.sub(" ", text).replace(_MARK_OPEN, "").replace(_MARK_CLOSE, ""))
    while True:
        prefix = _LOOKS_LIKE_LOG.match(line)
        if prefix is None:
            break
        line = line[prefix.end() :]
    line = line or _NO_TEXT
    if tuple(version) < _SIX:
        return f"{_MARK_OPEN}\n{line}\n{_MARK_CLOSE}\n"
    return line + "\n"


def _word(text: str) -> str:
    """oned splits its drivers' answers on blanks.  Raises ValueError when ``text`` is not one word."""
    if text.split() != [text]:
        raise ValueError(f"an answer to oned must be one word: {text!r}")
    return text
