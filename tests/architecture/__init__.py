# SPDX-License-Identifier: Apache-2.0
"""How the project is built, held by tests that read its files."""
