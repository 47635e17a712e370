# SPDX-License-Identifier: Apache-2.0
"""Package of the driver's library; ``make install`` puts the executables where OpenNebula looks for them."""

from __future__ import annotations

import ast
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """The literal in ``linstor_helper/_version.py``; importing the library would need what it depends on."""
    tree = ast.parse((HERE / "linstor_helper" / "_version.py").read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "VERSION":
            return str(ast.literal_eval(statement.value))
    raise SystemExit("setup.py: no VERSION in linstor_helper/_version.py")


CLI = ["requests>=2.25"]
LAB = [*CLI, "dissect.hypervisor>=3.15", "pycdlib>=1.14", "rich>=13", "werkzeug>=2.2"]
DEV = [
    *LAB,
    "hypothesis>=6.100",
    "jsonschema>=4.17",
    "mypy>=1.11",
    "pytest>=8.2",
    "pytest-xdist>=3.6",
    "pyyaml>=6",
    "ruff>=0.9",
    "setuptools>=61",
    "tox>=4.11",
]

setup(
    name="one-linstor-driver",
    version=version(),
    description="LINSTOR storage driver for OpenNebula",
    license="Apache-2.0",
    packages=find_packages(include=["linstor_helper", "linstor_helper.*"]),
    python_requires=">=3.9",
    install_requires=[
        "python-linstor>=1.27; python_version < '3.12'",
        # Older ones import distutils.
        "python-linstor>=1.29; python_version >= '3.12'",
        "lxml>=4.6",
    ],
    extras_require={"cli": CLI, "lab": LAB, "dev": DEV},
    zip_safe=False,
    classifiers=[
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(9, 14)),
        "Topic :: System :: Systems Administration",
    ],
)
