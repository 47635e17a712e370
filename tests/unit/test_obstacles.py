# SPDX-License-Identifier: Apache-2.0
"""What keeps a volume from a host, told by what LINSTOR knows of all its nodes."""

from __future__ import annotations

import pytest

from linstor_helper.errors import Error, InUseError, NotReadyError
from linstor_helper.obstacles import obstacle_to
from linstor_helper.ports import Resource


def on(
    node: str,
    *flags: str,
    in_use: bool | None = False,
    may_promote: bool | None = True,
    disk_state: str | None = "UpToDate",
    lost: tuple[str, ...] = (),
    layers: tuple[str, ...] = ("DRBD", "STORAGE"),
) -> Resource:
    return Resource(
        "vol",
        node,
        frozenset(flags),
        in_use,
        layers,
        "/dev/drbd1000",
        "Diskless" if "DISKLESS" in flags else disk_state,
        may_promote=may_promote,
        lost=lost,
    )


def client(node: str, **more: object) -> Resource:
    return on(node, "DISKLESS", **more)  # type: ignore[arg-type]


BUSY = {"in_use": True, "may_promote": False}
STUCK = {"may_promote": False}
SILENT = {"in_use": None, "may_promote": None}


@pytest.mark.parametrize(
    ("host", "resources"),
    [
        ("dave", [on("alice"), on("bob")]),
        ("alice", [on("alice"), on("bob"), client("dave")]),
        ("dave.example.org", [on("alice"), client("dave", **BUSY)]),
        # The host's own guest is none of the others.
        ("alice", [on("alice", **BUSY), on("bob", **STUCK)]),
        # Nothing is known of it: LINSTOR is asked for its node elsewhere.
        ("alice", [on("alice", **SILENT), on("bob", **STUCK)]),
        # One replica that could be opened is enough for a node that reads over the network.
        ("dave", [on("alice", **STUCK), on("bob")]),
        ("dave", [on("alice", **SILENT), on("bob")]),
        # Without DRBD nothing is told.
        ("alice", [on("alice", in_use=None, may_promote=None, layers=("STORAGE",))]),
        ("dave", []),
    ],
)
def test_nothing_stands_against_it(host: str, resources: list[Resource]) -> None:
    assert obstacle_to("vol", host, resources) is None


@pytest.mark.parametrize(
    ("host", "resources", "kind", "text"),
    [
        ("dave", [on("alice", **BUSY), on("bob", **STUCK)], InUseError, "vol is in use on alice"),
        ("bob", [on("alice", **BUSY), on("bob")], InUseError, "vol is in use on alice"),
        (
            "carol",
            [on("bob", **BUSY), client("alice", **BUSY), client("carol", **STUCK)],
            InUseError,
            "vol is in use on alice and bob",
        ),
        # A volume that is being taken from a node is open there still.
        ("dave", [on("alice"), client("bob", **BUSY)], InUseError, "vol is in use on bob"),
        (
            "alice",
            [on("alice", **STUCK, lost=("bob", "carol")), on("bob", **SILENT)],
            NotReadyError,
            "alice is UpToDate without connection to bob, carol",
        ),
        (
            "alice",
            [on("alice", **STUCK, disk_state="Outdated"), on("bob")],
            NotReadyError,
            "alice is Outdated",
        ),
        (
            "dave",
            [
                on("alice", **STUCK, disk_state="Inconsistent"),
                on("bob", **STUCK, disk_state=None, lost=("alice",)),
            ],
            NotReadyError,
            "alice is Inconsistent; bob is in an unknown state without connection to alice",
        ),
        # A diskless node has no say for others, and one that is being deleted has none at all.
        (
            "dave",
            [on("alice", **STUCK, lost=("bob",)), client("bob")],
            NotReadyError,
            "cannot be opened on dave",
        ),
        (
            "dave",
            [on("alice", "DELETE"), on("bob", **STUCK, lost=("alice",))],
            NotReadyError,
            "vol cannot be opened on dave",
        ),
        # All is well, but for a node that tells nothing: that one has it open.
        (
            "alice",
            [on("alice", **STUCK), on("bob", **SILENT)],
            InUseError,
            "vol may be in use on bob, which LINSTOR does not reach",
        ),
    ],
)
def test_what_stands_against_it(host: str, resources: list[Resource], kind: type[Error], text: str) -> None:
    error = obstacle_to("vol", host, resources)
    assert type(error) is kind
    assert text in str(error)


def test_users_of_a_shared_volume_are_no_obstacle() -> None:
    for host in ("alice", "bob", "dave"):
        resources = [on("alice", **BUSY), on("bob", **STUCK)]
        assert obstacle_to("vol", host, resources, shared=True) is None
    without_quorum = [on("alice", **STUCK, lost=("bob",)), on("bob", **SILENT)]
    assert isinstance(obstacle_to("vol", "alice", without_quorum, shared=True), NotReadyError)
