# SPDX-License-Identifier: Apache-2.0
"""Holds the mount namespace of one host, for as long as its standard input stays open.

Arguments are a plan, in order: ``dev DIR`` (DIR becomes /dev, with the usual character devices), ``hide
DIR`` (an empty tmpfs takes its place) and ``bind DIR PLACE`` (DIR as it was before the plan began appears
at PLACE). Answers ``ready`` on standard output, with the options by which nsenter joins. The lab's end,
even by SIGKILL, closes the input; then the namespace and all its mounts are gone.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_NODEV = 0x4
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
CHARACTER_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx")
STANDARD_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). Raises OSError."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)}")


def new_namespace() -> str:
    """A private mount namespace, with a user namespace around it where nothing else is allowed."""
    user, group = os.geteuid(), os.getegid()
    options = "-m"
    if libc.unshare(CLONE_NEWNS):
        if libc.unshare(CLONE_NEWNS | CLONE_NEWUSER):
            number = ctypes.get_errno()
            raise OSError(number, f"unshare: {os.strerror(number)}")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        options = "-U --preserve-credentials -m"
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    return options


def make_dev(directory: str) -> None:
    for name in CHARACTER_DEVICES:
        place = os.path.join(directory, name)
        with open(place, "a", encoding="ascii"):
            mount(f"/dev/{name}", place, None, MS_BIND)
    for name, target in STANDARD_LINKS.items():
        if not os.path.lexists(os.path.join(directory, name)):
            os.symlink(target, os.path.join(directory, name))
    for name in ("pts", "shm"):
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    mount("/dev/pts", os.path.join(directory, "pts"), None, MS_BIND | MS_REC)
    mount("tmpfs", os.path.join(directory, "shm"), "tmpfs", 0, "mode=1777")
    mount(directory, "/dev", None, MS_BIND | MS_REC)
    flags = os.statvfs("/dev").f_flag
    if flags & os.ST_NODEV:
        mount("none", "/dev", None, MS_REMOUNT | MS_BIND | flags & ~MS_NODEV)


def carry_out(plan: list[str]) -> None:
    originals = {
        plan[at + 1]: os.open(plan[at + 1], os.O_PATH | os.O_DIRECTORY)
        for at, word in enumerate(plan)
        if word == "bind"
    }
    while plan:
        verb = plan.pop(0)
        directory = plan.pop(0)
        if verb == "dev":
            make_dev(directory)
        elif verb == "hide":
            mount("tmpfs", directory, "tmpfs", 0, "mode=1777")
        elif verb == "bind":
            place = plan.pop(0)
            os.makedirs(place, exist_ok=True)
            # By descriptor, because the path may lead to a directory that is hidden by now.
            mount(f"/proc/self/fd/{originals[directory]}", place, None, MS_BIND | MS_REC)
        else:
            raise ValueError(f"unknown word {verb!r} in the plan")


def main() -> None:
    try:
        options = new_namespace()
        carry_out(sys.argv[1:])
    except OSError as error:
        sys.exit(f"{error}")
    os.chdir("/")
    print("ready", options, flush=True)
    os.read(0, 1)


main()
