# SPDX-License-Identifier: Apache-2.0
"""The driver at work in a cloud on this machine, told on a terminal."""
