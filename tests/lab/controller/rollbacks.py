# SPDX-License-Identifier: Apache-2.0
"""What tests of rollbacks have in common: a volume, its snapshot, and how it is afterwards."""

from __future__ import annotations

from typing import Any

from lab.devices_protocol import NoDevices

from .support import Rest

A, B, ZEROS = b"a" * 4096, b"b" * 4096, bytes(4096)
RD = "resource-definitions/vm-1"


def rollback(rest: Rest, snapshot: str = "s1", **body: Any) -> Any:
    return rest.post(f"{RD}/snapshot-rollback/{snapshot}", body)


def prepared(rest: Rest, devices: NoDevices) -> None:
    """vm-1 on alice and bob, tie-breaker on charlie, client on dave: A in snapshot s1, now B."""
    rest.spawn("vm-1", resource_definition_props={"Aux/one/vm": "7"})
    rest.make_available("vm-1", "dave")
    devices.write("VM-1/0", 0, A)
    rest.snapshot("vm-1", "s1")
    devices.write("VM-1/0", 0, B)


def snapshots(rest: Rest) -> list[str]:
    return [one["name"] for one in rest.get(f"{RD}/snapshots")]


def states(rest: Rest, *nodes: str) -> list[str]:
    return [rest.volume("vm-1", node)["state"]["disk_state"] for node in nodes]
