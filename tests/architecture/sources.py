# SPDX-License-Identifier: Apache-2.0
"""The project's Python files and what they import, read without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
LIBRARY = "linstor_helper"


class Source(NamedTuple):
    """A Python file of the checkout; ``module`` is its dotted name, a package's for ``__init__.py``."""

    path: Path
    module: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """What its relative imports are relative to."""
        return self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]

    def at(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 1)}"


class Import(NamedTuple):
    """One imported name: ``a.b`` for ``import a.b``, ``a.b`` for ``from a import b``."""

    name: str
    at: str
    for_types: bool
    """Below ``if TYPE_CHECKING``: names a type and is not there at run time."""

    def is_of(self, module: str) -> bool:
        """Whether it is ``module`` or something inside."""
        return self.name == module or self.name.startswith(f"{module}.")


def sources(*directories: str) -> list[Source]:
    """All Python files below these directories of the checkout, executables without a suffix included."""
    found = []
    for directory in directories:
        for path in sorted((CHECKOUT / directory).rglob("*")):
            if path.is_file() and _is_python(path):
                found.append(Source(path, _module(path), ast.parse(path.read_bytes(), str(path))))
    return found


def _is_python(path: Path) -> bool:
    if path.suffix:
        return path.suffix == ".py"
    with open(path, "rb") as file:
        first = file.readline()
    return first.startswith(b"#!") and b"python" in first


def _module(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: Source) -> Iterator[Import]:
    """Every import of the file: at its top, inside functions and for type checking alike."""
    for_types = {
        id(inside)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inside in ast.walk(statement)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            base = f"{_absolute(source, node)}." if isinstance(node, ast.ImportFrom) else ""
            for one in node.names:
                yield Import(f"{base}{one.name}", source.at(node), id(node) in for_types)


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = source.package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)
