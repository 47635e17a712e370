# SPDX-License-Identifier: Apache-2.0
"""A stand-in for OpenNebula: its API, its directory and its way to call storage drivers."""

from __future__ import annotations

from lab.one.calls import Call
from lab.one.errors import OneError
from lab.one.model import AppState, HostState, Image, ImageState, LcmState, MarketApp, VirtualMachine, VmState
from lab.one.runner import Oned

__all__ = [
    "AppState",
    "Call",
    "HostState",
    "Image",
    "ImageState",
    "LcmState",
    "MarketApp",
    "OneError",
    "Oned",
    "VirtualMachine",
    "VmState",
]
