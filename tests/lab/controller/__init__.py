# SPDX-License-Identifier: Apache-2.0
"""Tests of the controller simulator: state, REST, faults. Docstrings name the invariant of the API guide."""
