# SPDX-License-Identifier: Apache-2.0
"""What driver actions cost, in a small cluster and in a large one."""
