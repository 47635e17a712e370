# SPDX-License-Identifier: Apache-2.0
"""Which local paths images may be read from: RESTRICTED_DIRS and SAFE_DIRS of a datastore.

As in OpenNebula's own drivers a safe directory wins over a restricted one, and its installation and oneadmin's home
are always restricted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from linstor_helper.errors import RefusedError


def is_remote(source: str) -> bool:
    """Whether the downloader fetches it from elsewhere (``http://``, ``rsync://``, ...)."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.replace("+", "").isalnum()


def shown(source: str) -> str:
    """A path or URL as it may stand in a message: without the password or the signature that a URL can carry."""
    if not is_remote(source):
        return source
    scheme, _, rest = source.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def require_allowed(path: str, restricted: Sequence[str], safe: Sequence[str]) -> None:
    """Raises RefusedError when ``path``, with all links resolved, must not be read.

    A directory is matched by whole components, so that ``/var/tmp`` does not make ``/var/tmp-secret`` safe.
    """
    real = os.path.realpath(path)
    if not _inside(real, safe) and _inside(real, restricted):
        raise RefusedError(
            f"not allowed to read image from {path}",
            hint="it is in a restricted directory; see RESTRICTED_DIRS and SAFE_DIRS of the datastore",
        )


def _inside(path: str, directories: Iterable[str]) -> bool:
    for directory in directories:
        real = os.path.realpath(directory)
        if path == real or path.startswith(real.rstrip("/") + "/"):
            return True
    return False
