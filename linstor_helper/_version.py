# SPDX-License-Identifier: Apache-2.0
"""The version of the driver; a literal, so that reading it costs nothing at run time."""

VERSION = "4.0.0"
