# SPDX-License-Identifier: Apache-2.0
"""A cloud in a box: a LINSTOR controller simulator, hosts and an OpenNebula stand-in."""
