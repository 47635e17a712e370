# SPDX-License-Identifier: Apache-2.0
"""Which volume is where: the state of the cluster and the links on the hosts, as a table."""

from __future__ import annotations

import os

from rich.table import Table

from lab.cloud import HOSTS, Cloud
from lab.controller.model import Resource, ResourceDefinition

WIDE = 92
PREFIX = "OpenNebula-"
BY_RES = "/dev/drbd/by-res/"
LEGEND = "VM n: linked for that VM on the host.  *: a process on the host holds it open."
_STYLES = {"replica": "green", "tie-breaker": "dim", "diskless": "cyan", "deleting": "yellow", "": ""}


def links(cloud: Cloud) -> dict[tuple[str, str], str]:
    """Every link to a volume in the datastores of a host: (host, path in the datastores) -> resource."""
    found = {}
    for host in HOSTS:
        top = cloud.hosts.layout.host_datastores(host)
        for path in top.glob("*/*/disk.*"):
            if path.is_symlink():
                target = cloud.hosts.readlink(host, cloud.hosts.layout.datastores / path.relative_to(top))
                found[host, str(path.relative_to(top))] = target[len(BY_RES) :].split("/")[0]
    return found


def cell(resource: Resource | None, vms: list[str], *, in_use: bool) -> tuple[str, str]:
    """What a node has of a volume, and the style for it."""
    if resource is None:
        kind = ""
    elif resource.deleting:
        kind = "deleting"
    elif resource.tie_breaker:
        kind = "tie-breaker"
    else:
        kind = "diskless" if resource.diskless else "replica"
    words = [kind or "-", *(f"VM {vm}" for vm in vms)]
    return " ".join(words) + ("*" if in_use else ""), f"{_STYLES[kind]} {'bold' if vms else ''}".strip()


def cluster_map(cloud: Cloud, width: int) -> Table:
    """Rows are volumes, columns nodes; what a volume occupies is left out of a narrow one."""
    wide = width >= WIDE
    table = Table(box=None, padding=(0, 2 if wide else 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(f"{PREFIX}*", no_wrap=True)
    if wide:
        table.add_column("used", justify="right", no_wrap=True, min_width=8)
    for host in HOSTS:
        off = "" if cloud.cluster.node(host).online else " (off)"
        table.add_column(f"{host}{off}", no_wrap=True, min_width=11 if wide else 0)
    linked = links(cloud)
    with cloud.cluster.lock:
        for rd in cloud.cluster.rds.values():
            used = [_allocated(cloud, rd)] if wide else []
            table.add_row(rd.name.replace(PREFIX, "", 1), *used, *_cells(cloud, rd, linked))
    return table


def _cells(cloud: Cloud, rd: ResourceDefinition, linked: dict[tuple[str, str], str]) -> list[str]:
    resources = {one.node: one for one in rd.resources.values()}
    open_on = cloud.hosts.devices.openers(rd.content_key(0))
    cells = []
    for host in HOSTS:
        vms = [
            path.split(os.sep)[1]
            for (where, path), name in sorted(linked.items())
            if where == host and name.upper() == rd.name.upper()
        ]
        text, style = cell(resources.get(host), vms, in_use=host in open_on)
        cells.append(f"[{style}]{text}[/]" if style else text)
    return cells


def _allocated(cloud: Cloud, rd: ResourceDefinition) -> str:
    return f"{cloud.hosts.devices.allocated_kib(rd.content_key(0))} KiB"
