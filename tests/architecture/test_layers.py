# SPDX-License-Identifier: Apache-2.0
"""The layers of the library: each imports only what stands below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .sources import CHECKOUT, LIBRARY, Import, Source, imports, sources

LAYERS = {
    0: {"_version", "errors", "location", "names", "units"},
    1: {
        "answers",
        "call",
        "filesystems",
        "formats",
        "host_commands",
        "layout",
        "lifecycle",
        "oned_conf",
        "onexml",
        "paths",
        "settings",
        "shell",
        "vm_disks",
    },
    2: {"clock", "interrupts", "linstor_api", "locks", "log", "one_api", "ports", "ssh", "waiting"},
    3: {
        "attach",
        "companions",
        "contents",
        "copying",
        "detaching",
        "device_formats",
        "disk_snapshots",
        "exporting",
        "filling",
        "migration",
        "moving",
        "nodes",
        "obstacles",
        "quiesce",
        "resizing",
        "reverting",
        "sharing",
        "snapshots",
        "sources",
        "storage",
        "transfer",
        "undo",
        "usage",
        "vm_directory",
        "volumes",
    },
    4: {"actions"},
    5: {"context", "entry"},
}
"""Modules and packages right below the library's root. A new one gets its place here first."""

PORTS, OPERATIONS, ACTIONS, ENTRY = 2, 3, 4, 5
MEETING_PLACES = {"interrupts", "ports", "waiting"}
ADAPTERS = LAYERS[PORTS] - MEETING_PLACES
LAYER = {name: number for number, names in LAYERS.items() for name in names}

ONLY_IN = {
    "fcntl": {"locks"},
    "http": {"linstor_api", "one_api"},
    "linstor": {"linstor_api"},
    "lxml": {"onexml"},
    "subprocess": {"ssh"},
    "syslog": {"log"},
    "xmlrpc": {"one_api"},
}
"""What reaches the outside world or costs time to import, and who may import it."""

NOWHERE = {"argparse", "asyncio", "importlib.metadata", "lab", "pyone", "requests", "tests", "unittest"}
"""Not even inside functions: every action is a new process, and the library stands without the lab."""

STARTS_PROCESSES = ("exec", "fork", "popen", "posix_spawn", "spawn", "system")
LONGEST = 400


@pytest.fixture(scope="module")
def library() -> list[Source]:
    return sources(LIBRARY)


def room(module: str) -> str:
    """The name in ``LAYERS`` for ``linstor_helper.<room>...``; empty for the library's root itself."""
    return module.partition(".")[2].partition(".")[0]


def inner(source: Source) -> Iterator[tuple[Import, str]]:
    """Its imports from other rooms of the library, with the room."""
    for one in imports(source):
        if one.is_of(LIBRARY) and room(one.name) != room(source.module):
            yield one, room(one.name)


def test_every_module_has_a_place_and_every_place_a_module(library: list[Source]) -> None:
    assert {room(source.module) for source in library} - {""} == set(LAYER)


def test_imports_go_down(library: list[Source]) -> None:
    wrong = [
        f"{one.at}: {room(source.module)} (layer {LAYER[room(source.module)]}) imports {target}"
        for source in library
        if room(source.module) in LAYER
        for one, target in inner(source)
        if not _may(room(source.module), target)
        # An action is handed the context: it names the type, and makes none.
        and not (one.for_types and (room(source.module), target) == ("actions", "context"))
    ]
    assert wrong == []


def _may(importer: str, target: str) -> bool:
    layer, below = LAYER[importer], LAYER.get(target)
    if below is None or below > layer:
        return False
    if layer in (OPERATIONS, ACTIONS) and target in ADAPTERS:
        return False
    # Adapters stand side by side and meet in the ports only.
    return below < layer or layer != PORTS or target in MEETING_PLACES


def test_no_module_imports_itself_in_a_circle(library: list[Source]) -> None:
    known = {source.module for source in library}
    graph = {
        source.module: {_module_of(one.name, known) for one in imports(source) if not one.for_types} - {""}
        for source in library
    }
    while graph:
        free = {module for module, targets in graph.items() if not targets & graph.keys() - {module}}
        assert free, f"a circle among {sorted(graph)}"
        graph = {module: targets for module, targets in graph.items() if module not in free}


def _module_of(name: str, known: set[str]) -> str:
    """``a.b.c`` is the module a.b.c, or something in a.b; a package's own name stands for its __init__."""
    return next((one for one in (name, name.rpartition(".")[0]) if one in known), "")


def test_entry_imports_actions_by_name_only(library: list[Source]) -> None:
    wrong = [
        f"{one.at}: imports {one.name}"
        for source in library
        if LAYER.get(room(source.module)) == ENTRY
        for one in imports(source)
        if one.is_of(f"{LIBRARY}.actions")
    ]
    assert wrong == []


def test_the_outside_world_is_reached_in_one_place(library: list[Source]) -> None:
    wrong = [
        f"{one.at}: imports {one.name}"
        for source in library
        for one in imports(source)
        for module, rooms in ONLY_IN.items()
        if one.is_of(module) and room(source.module) not in rooms
    ]
    assert wrong == []


def test_never_imported(library: list[Source]) -> None:
    wrong = [
        f"{one.at}: imports {one.name}"
        for source in library
        for one in imports(source)
        for module in NOWHERE
        if one.is_of(module)
    ]
    assert wrong == []


def test_processes_start_in_ssh_only(library: list[Source]) -> None:
    wrong = [
        f"{source.at(node)}: os.{name}"
        for source in library
        if room(source.module) != "ssh"
        for node, name in _members_of_os(source)
        if name.startswith(STARTS_PROCESSES)
    ]
    assert wrong == []


def _members_of_os(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """``os.name`` and ``from os import name``."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            yield node, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ((node, one.name) for one in node.names)


def test_modules_stay_small() -> None:
    sizes = {
        str(source.path.relative_to(CHECKOUT)): len(source.path.read_bytes().splitlines())
        for source in sources(LIBRARY, "lab")
    }
    assert {name: lines for name, lines in sizes.items() if lines > LONGEST} == {}
