# SPDX-License-Identifier: Apache-2.0
"""The LINSTOR cluster as the operations see it, by way of python-linstor, which nothing else imports."""

from __future__ import annotations

from linstor_helper.linstor_api.controller import LinstorController

__all__ = ["LinstorController"]
