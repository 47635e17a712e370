# SPDX-License-Identifier: Apache-2.0
"""Whether a volume has its content: a revert that LINSTOR failed may have left it without."""

from __future__ import annotations

from collections.abc import Sequence

from linstor_helper.errors import NotReadyError, NotReverted
from linstor_helper.ports import Controller, Resource


def require(name: str, resources: Sequence[Resource]) -> None:
    """Raises NotReverted when a revert has left the volume without its content."""
    guards = sorted({one.unreverted for one in resources if one.unreverted})
    if guards:
        raise NotReverted(
            f"{name} has lost its content in a revert that failed, {' and '.join(guards)} has it",
            hint="revert it again, or see docs/troubleshooting.md",
        )


def require_replica(controller: Controller, name: str, resources: Sequence[Resource]) -> None:
    """Raises NotReadyError when no resource has a disk: LINSTOR would add an empty one and call it up to date.

    That there is no such volume at all is told by whatever comes next."""
    if any(not (one.diskless or one.deleting) for one in resources):
        return
    if resources or controller.resource_definition(name) is not None:
        raise NotReadyError(
            f"{name} has no replica with a disk",
            hint=f"see `linstor resource list -r {name}`; after a revert that failed, revert it again",
        )
