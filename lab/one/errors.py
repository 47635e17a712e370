# SPDX-License-Identifier: Apache-2.0
"""What the stand-in for oned raises."""

from __future__ import annotations


class OneError(Exception):
    """A request that OpenNebula refuses; the text is what the command line prints."""
