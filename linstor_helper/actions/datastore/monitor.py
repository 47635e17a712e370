# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/monitor``: the capacity of a datastore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import answers, onexml

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """LINSTOR reckons with replicas, constraints and offline nodes; a sum over storage pools would not."""
    storage = context.storage(onexml.read_action(args, stdin).datastore)
    space = storage.controller.space(storage.settings.resource_group)
    return answers.monitor(total=space.capacity, free=space.available)
