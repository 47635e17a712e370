# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/monitor``: the capacity of a system datastore, found as that of an image datastore."""

from __future__ import annotations

from linstor_helper.actions.datastore.monitor import run

__all__ = ["run"]
