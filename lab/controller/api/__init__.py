# SPDX-License-Identifier: Apache-2.0
"""The REST calls: one table of routes per kind of object."""

from __future__ import annotations

from lab.controller.api import controller, definitions, groups, resources, snapshots
from lab.controller.api.route import Call, Route, Stream

ROUTES: list[Route] = [
    *controller.ROUTES,
    *groups.ROUTES,
    *definitions.ROUTES,
    *resources.ROUTES,
    *snapshots.ROUTES,
]

__all__ = ["ROUTES", "Call", "Route", "Stream"]
