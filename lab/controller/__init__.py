# SPDX-License-Identifier: Apache-2.0
"""LINSTOR controller simulator: a state machine, and a server that speaks LINSTOR's REST API."""

from __future__ import annotations

from lab.controller.cluster import Cluster
from lab.controller.faults import StandbyServer
from lab.controller.server import ControllerServer, RequestRecord
from lab.controller.standard import populate, standard_cluster
from lab.controller.tls import TlsFiles, make_tls

__all__ = [
    "Cluster",
    "ControllerServer",
    "RequestRecord",
    "StandbyServer",
    "TlsFiles",
    "make_tls",
    "populate",
    "standard_cluster",
]
