#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""downloader.sh [-m MD5] [-s SHA1] [-n] [-l LIMIT] [-c BYTES] [-o] SOURCE DESTINATION|-

Interface of OpenNebula's downloader for local files, http(s):// and ssh://host:path. gz, bz2 and xz are taken
apart on the way unless -n is given; a checksum is that of the bytes before, and it is compared after the
data went out. -l limits http(s) only (bytes per second, suffix k, m or g). Every failure exits with 255.
Not here: retries (so -o changes nothing) and unpacking of archives into a directory.
"""

from __future__ import annotations

import bz2
import getopt
import hashlib
import lzma
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

CHUNK = 1 << 18
DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
}


class Failure(Exception):
    """Ends the download; the text goes to stderr."""


def chunks(source: str, limit: float | None) -> Iterator[bytes]:
    """The bytes of `source` as they are stored; at most `limit` bytes per second over http."""
    if source.startswith(("http://", "https://")):
        yield from http_chunks(source, limit)
    elif source.startswith("ssh://"):
        yield from ssh_chunks(source[len("ssh://") :])
    else:
        if not os.access(source, os.R_OK):
            raise Failure(f"{source} is not readable")
        try:
            with open(source, "rb") as stream:
                while data := stream.read(CHUNK):
                    yield data
        except OSError as exc:
            raise Failure(f"copying {source} failed: {exc.strerror}") from exc


def http_chunks(source: str, limit: float | None) -> Iterator[bytes]:
    # Imported here because they double the time that a local file takes.
    import ssl
    import urllib.request

    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    expected, received, started = None, 0, time.monotonic()
    try:
        with urllib.request.urlopen(source, context=unverified, timeout=60) as reply:
            expected = reply.headers.get("Content-Length")
            while data := reply.read(min(CHUNK, int(limit)) if limit else CHUNK):
                received += len(data)
                yield data
                if limit:
                    time.sleep(max(0.0, received / limit - (time.monotonic() - started)))
    except OSError as exc:
        raise Failure(f"copying {source} failed: {exc}") from exc
    if expected is not None and int(expected) != received:
        raise Failure(f"copying {source} failed: {received} of {expected} bytes came")


def ssh_chunks(where: str) -> Iterator[bytes]:
    import shlex
    import subprocess

    host, _, path = where.partition(":")
    # The original keeps host and path in a list of words: of a path with blanks it knows the first word.
    command = ["ssh", host, f"cat {shlex.quote(path.split()[0])}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := process.stdout.read(CHUNK):
            yield data
    if process.returncode != 0:
        raise Failure(f"copying {where} failed: ssh ended with {process.returncode}")


def decompressed(stream: Iterator[bytes]) -> Iterator[bytes]:
    """What the stream holds; several members one after the other belong together."""
    data = b""
    while len(data) < 6 and (more := next(stream, b"")):
        data += more
    make = next((made for magic, made in DECOMPRESSORS.items() if data.startswith(magic)), None)
    if make is None:
        yield data
        yield from stream
        return
    member = make()
    try:
        while data:
            yield member.decompress(data)
            data = member.unused_data
            if member.eof and data:
                member = make()
            elif not data:
                data = next(stream, b"")
                if data and member.eof:
                    member = make()
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as exc:
        raise Failure(f"copying failed: {exc}") from exc
    if not member.eof:
        raise Failure("copying failed: the compressed data ends too early")


def bytes_per_second(text: str) -> float:
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1:].lower())
    return float(text[:-1]) * factor if factor else float(text)


def main() -> None:
    try:
        options, words = getopt.gnu_getopt(
            sys.argv[1:],
            "m:s:l:c:no",
            ["md5=", "sha1=", "limit=", "max-size=", "nodecomp", "noretry"],
        )
    except getopt.GetoptError as exc:
        raise Failure(f"bad arguments: {exc}") from exc
    if len(words) != 2:
        raise Failure("bad arguments: source and destination are needed")
    algorithm = expected = limit = size = None
    unpack = True
    for name, value in options:
        if name in ("-m", "--md5"):
            algorithm, expected = "md5", value
        elif name in ("-s", "--sha1"):
            algorithm, expected = "sha1", value
        elif name in ("-l", "--limit"):
            limit = bytes_per_second(value)
        elif name in ("-c", "--max-size"):
            size = int(value)
        elif name in ("-n", "--nodecomp"):
            unpack = False
    if algorithm and size is not None:
        raise Failure("a part of the source can not be checked against a checksum")
    digest = hashlib.new(algorithm or "md5")

    def hashed() -> Iterator[bytes]:
        for data in chunks(words[0], limit):
            digest.update(data)
            yield data

    stream = decompressed(hashed()) if unpack else hashed()
    output = sys.stdout.buffer if words[1] == "-" else open(words[1], "wb")  # noqa: SIM115
    with output:
        left = size
        for data in stream:
            if left is not None:
                data = data[:left]
                left -= len(data)
            output.write(data)
            if left == 0:
                break
    if algorithm and digest.hexdigest() != expected:
        raise Failure(f"the {algorithm} checksum of the source is {digest.hexdigest()}, not {expected}")


try:
    main()
except Failure as exc:
    print(exc, file=sys.stderr)
    sys.exit(255)
except BrokenPipeError:
    os._exit(255)
