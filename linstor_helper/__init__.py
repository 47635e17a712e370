# SPDX-License-Identifier: Apache-2.0
"""LINSTOR storage driver for OpenNebula: everything that the driver's executables do."""
