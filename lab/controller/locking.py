# SPDX-License-Identifier: Apache-2.0
"""One lock for the whole cluster."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def locked(method: F) -> F:
    """Run a collaborator's method under the cluster's lock."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.cluster.lock:
            return method(self, *args, **kwargs)

    return guarded  # type: ignore[return-value]
