# SPDX-License-Identifier: Apache-2.0
"""A process that holds one disk open as a virtual machine does; see ``lab.hosts.guest`` for the other end.

Arguments: path, ``rw`` or ``ro``. Requests on standard input, one line each: ``write OFFSET LENGTH`` (the
bytes follow), ``read OFFSET LENGTH``, ``size``, ``sha256``. Answers: ``ok LENGTH`` and so many bytes, or
``error ERRNO``. The first answer, to the opening, is followed by a line with block device number, device
and inode of the file. The end of the input ends the process.

It holds the locks of QEMU's ``block/file-posix.c``, from which qemu-img sees that the disk is in use: shared ones on
byte 100 + n for each permission that it has, on 200 + n for each that it grants to nobody else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import sys

CHUNK = 1 << 20
HAS_READ, HAS_WRITE, KEEPS_WRITE = 100, 101, 201


def size(disk: int) -> int:
    return os.lseek(disk, 0, os.SEEK_END)


def write(disk: int, offset: int, data: bytes) -> None:
    """A disk does not grow when somebody writes beyond its end, even where it is a file."""
    if offset + len(data) > size(disk):
        raise OSError(errno.ENOSPC, "beyond the end of the disk")
    while data:
        count = os.pwrite(disk, data, offset)
        offset, data = offset + count, data[count:]
    os.fdatasync(disk)


def read(disk: int, offset: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.pread(disk, min(length, CHUNK), offset)
        if not part:
            raise OSError(errno.EIO, "beyond the end of the disk")
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def sha256(disk: int) -> str:
    import hashlib

    digest = hashlib.sha256()
    offset = 0
    while True:
        part = os.pread(disk, CHUNK, offset)
        if not part:
            return digest.hexdigest()
        digest.update(part)
        offset += len(part)


def answer(disk: int, verb: str, numbers: list[int]) -> bytes:
    if verb == "write":
        write(disk, numbers[0], sys.stdin.buffer.read(numbers[1]))
        return b""
    if verb == "read":
        return read(disk, *numbers)
    if verb == "size":
        return str(size(disk)).encode()
    if verb == "sha256":
        return sha256(disk).encode()
    raise ValueError(verb)


def send(head: str, body: bytes = b"") -> None:
    sys.stdout.buffer.write(head.encode() + b"\n" + body)
    sys.stdout.buffer.flush()


def lock(disk: int, places: tuple[int, ...]) -> None:
    for place in places:
        request = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, place, 1, 0)
        fcntl.fcntl(disk, fcntl.F_OFD_SETLK, request)


def main(path: str, mode: str) -> None:
    try:
        disk = os.open(path, os.O_RDWR if mode == "rw" else os.O_RDONLY)
    except OSError as error:
        send(f"error {error.errno}")
        return
    lock(disk, (HAS_READ, HAS_WRITE, KEEPS_WRITE) if mode == "rw" else (HAS_READ, KEEPS_WRITE))
    status = os.fstat(disk)
    send("ok 0")
    send(f"{status.st_rdev} 0 0" if stat.S_ISBLK(status.st_mode) else f"0 {status.st_dev} {status.st_ino}")
    for line in sys.stdin.buffer:
        verb, *numbers = line.decode().split()
        try:
            body = answer(disk, verb, [int(number) for number in numbers])
            send(f"ok {len(body)}", body)
        except OSError as error:
            send(f"error {error.errno}")


main(*sys.argv[1:])
