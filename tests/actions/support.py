# SPDX-License-Identifier: Apache-2.0
"""Questions to a cloud that the tests of many actions ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.cloud import HOSTS, Cloud
from lab.controller import RequestRecord
from lab.controller.names import key

MIB = 1 << 20
_FIXED_WORDS = frozenset(
    (
        *("v1", "controller", "version", "view", "nodes", "clone", "query-size-info"),
        *("resource-definitions", "resource-groups", "resources", "spawn", "make-available", "autoplace"),
    )
)
"""Words of the REST API's paths that are not names of objects."""


def by_res(resource: str) -> str:
    return f"/dev/drbd/by-res/{resource}/0"


def content(cloud: Cloud, resource: str, length: int, device: str = "") -> bytes:
    """The first bytes of a volume, as a process reads them on a node that has a replica."""
    node = cloud.cluster.rd(resource).diskful[0].node
    with cloud.hosts.open_disk(node, device or by_res(resource), write=False) as disk:
        return disk.read(0, length)


def device_size(cloud: Cloud, resource: str) -> int:
    """Bytes."""
    node = cloud.cluster.rd(resource).diskful[0].node
    with cloud.hosts.open_disk(node, by_res(resource), write=False) as disk:
        return disk.size()


def allocated_kib(cloud: Cloud, resource: str) -> int:
    """Blocks that the volume really uses."""
    return cloud.hosts.devices.allocated_kib(cloud.cluster.rd(resource).content_key(0))


def resources(cloud: Cloud) -> set[str]:
    """Names of all resource definitions."""
    return {rd.name for rd in cloud.cluster.rds.values()}


def nodes_of(cloud: Cloud, resource: str) -> set[str]:
    """Nodes that have the resource, tie-breakers included."""
    return {one.node for one in cloud.cluster.rd(resource).resources.values()}


def properties(cloud: Cloud, resource: str) -> dict[str, str]:
    """Our own, without the prefix."""
    props = cloud.cluster.rd(resource).props
    return {name[len("Aux/one/") :]: text for name, text in props.items() if name.startswith("Aux/one/")}


def is_complete(cloud: Cloud, resource: str) -> bool:
    """Whether the volume is there with the mark that is written last."""
    return key(resource) in cloud.cluster.rds and properties(cloud, resource).get("complete") == resource


def links(cloud: Cloud) -> dict[str, dict[str, str]]:
    """Every symbolic link in the datastore directories, with its text, by host."""
    found: dict[str, dict[str, str]] = {host: {} for host in HOSTS}
    for host in HOSTS:
        top = cloud.hosts.layout.host_datastores(host)
        for path in sorted(top.rglob("*")):
            if path.is_symlink():
                found[host][str(path.relative_to(top))] = os.readlink(path)
    return {host: texts for host, texts in found.items() if texts}


def assert_nothing_left(cloud: Cloud, *kept: str) -> None:
    """No volumes but the named ones, no links, no device held open, no lock file."""
    assert resources(cloud) == set(kept)
    assert links(cloud) == {}
    for rd in cloud.cluster.rds.values():
        assert cloud.hosts.devices.openers(rd.content_key(0)) == set()
    assert locks_left(cloud) == []


def locks_left(cloud: Cloud) -> list[str]:
    directory = cloud.one.tree.var / "lock"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


@contextmanager
def requests_of(cloud: Cloud) -> Iterator[list[RequestRecord]]:
    """The requests that come in while the context lasts."""
    seen: list[RequestRecord] = []
    before = len(cloud.controller.requests)
    yield seen
    seen += cloud.controller.requests[before:]


def calls_of(requests: list[RequestRecord]) -> list[str]:
    """Method and path of each, the path's names replaced by stars."""
    return [
        f"{one.method} "
        + "/".join(word if word in _FIXED_WORDS else "*" for word in one.path.strip("/").split("/"))
        for one in requests
    ]
