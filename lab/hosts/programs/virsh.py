# SPDX-License-Identifier: Apache-2.0
"""Stands for virsh on a host: ``virsh -c qemu:///system domfsfreeze|domfsthaw|domid|domstate DOMAIN``.

The domains are the system's; without -c an ordinary user's virsh asks the session's libvirt, which has none.
"""

from __future__ import annotations

import os
import socket
import sys

SYSTEM, SESSION = "qemu:///system", "qemu:///session"
COMMANDS = ("domfsfreeze", "domfsthaw", "domid", "domstate")


class Failed(Exception):
    """Complaints, a line each."""


def main(words: list[str]) -> int:
    try:
        status, output, complaints = _run(list(words))
    except Failed as error:
        status, output, complaints = 1, "", "".join(f"error: {line}\n" for line in error.args)
    sys.stdout.write(output)
    sys.stdout.flush()
    sys.stderr.write(complaints)
    return status


def _run(words: list[str]) -> tuple[int, str, str]:
    uri = os.environ.get("LIBVIRT_DEFAULT_URI", SESSION)
    while words and words[0].startswith("-"):
        option, glued, value = words.pop(0).partition("=")
        if option not in ("-c", "--connect"):
            raise Failed(f"unsupported option '{option}'. See --help.")
        if not glued and not words:
            raise Failed(f"option '{option}' requires an argument")
        uri = value if glued else words.pop(0)
    if not words or words[0] not in COMMANDS:
        raise Failed(f"unknown command: '{' '.join(words[:1])}'")
    command, *rest = words
    if not rest:
        raise Failed(f"command '{command}' requires <domain> option")
    if len(rest) > 1:
        raise Failed(f"unexpected data '{rest[1]}'")
    if uri not in (SYSTEM, SESSION):
        raise Failed("failed to connect to the hypervisor", f"no connection driver available for {uri}")
    host = os.environ["LAB_HOST"] if uri == SYSTEM else ""
    return _ask("\0".join((host, command, rest[0])))


def _ask(request: str) -> tuple[int, str, str]:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect("\0" + os.environ["LAB_LIBVIRT"])
        except OSError as error:
            raise Failed(
                "failed to connect to the hypervisor",
                f"Failed to connect socket to '/var/run/libvirt/libvirt-sock': {error.strerror}",
            ) from error
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            answer = stream.read().decode()
    if not answer:
        raise Failed("Disconnected from qemu:///system due to end of file")
    status, output, complaints = answer.split("\0")
    return int(status), output, complaints
