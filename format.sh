#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Formats the code and mends what ruff can mend by itself; with --check only reports.
set -euo pipefail
cd "$(dirname "$0")"

command -v ruff >/dev/null || PATH=$PWD/.venv/bin:$PATH

case "${1-}" in
    --check)
        ruff check .
        ruff format --check .
        ;;
    "")
        ruff check --fix .
        ruff format .
        ;;
    *)
        echo "usage: $0 [--check]" >&2
        exit 2
        ;;
esac
