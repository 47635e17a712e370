# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a new image come from: a file on the front-end, or OpenNebula's downloader.

A raw image streams through.  Other formats need to be read at random, so a download of one is staged first, in its own
(small) format; then it is converted window by window, so that never more than one window of it exists as raw data.
Staged files have no name: they vanish with the process, however it ends.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Callable, NamedTuple

from linstor_helper import formats, paths, transfer
from linstor_helper.errors import CommandFailed, Error, NoSpaceError, NotFoundError, RefusedError
from linstor_helper.layout import OneLayout
from linstor_helper.onexml import Image
from linstor_helper.ports import Hosts, Stream
from linstor_helper.settings import Settings
from linstor_helper.transfer import Extent
from linstor_helper.units import MIB, Size

WINDOW = 256 * MIB
_CHECK_FOUND_LEAKS, _CHECK_UNSUPPORTED = 3, 63


class Request(NamedTuple):
    """What an administrator asked to be imported, and under which rules."""

    path: str
    """A local path or a URL."""
    as_is: bool
    """Keep the bytes whatever format they are in (CD-ROM images)."""
    hashes: Sequence[str]
    """Options of the downloader that make it verify a checksum."""
    no_decompress: bool
    limit: str
    """Bandwidth for the downloader, in its own notation; empty for none."""
    restricted: Sequence[str]
    safe: Sequence[str]
    staging: str
    downloader: str
    environment: dict[str, str]
    """For the downloader; never shown."""


def request_for(image: Image, settings: Settings, layout: OneLayout, home: str, action: str) -> Request:
    """The request that the image of a ``cp`` or ``stat`` stands for.

    ``action`` is the call's own XML in base64: the downloader takes the keys of an S3 store from there.
    """
    hashes = [
        word
        for option, value in (("--md5", image.md5), ("--sha1", image.sha1))
        if value
        for word in (option, value)
    ]
    return Request(
        path=image.path,
        as_is=image.is_cdrom,
        hashes=hashes,
        no_decompress=settings.no_decompress,
        limit=settings.limit_transfer_bw or "",
        restricted=(layout.var, layout.etc, home, *settings.restricted_dirs),
        safe=settings.safe_dirs,
        staging=settings.staging_dir,
        downloader=layout.downloader,
        environment={"DRV_ACTION": action} if image.path.startswith("s3://") else {},
    )


class Source(NamedTuple):
    """An image that is ready to be read once."""

    size: Size | None
    """Virtual size; None while only the end of a download will tell."""
    extents: Callable[[], Iterator[Extent]]


@contextmanager
def open_source(hosts: Hosts, request: Request) -> Iterator[Source]:
    """Raises RefusedError, NotFoundError, or CommandFailed when the download fails (also when leaving the context)."""
    if paths.is_remote(request.path):
        try:
            with _downloaded(hosts, request, request.path) as source:
                yield source
        except Error as error:
            raise error.hiding(request.path, paths.shown(request.path)) from error.__cause__
        return
    with _opened(request) as (descriptor, head):
        path = _path_of(descriptor)
        if request.hashes or (formats.is_compressed(head) and not request.no_decompress):
            with _downloaded(hosts, request, path) as source:
                yield source
            return
        kind = formats.RAW if request.as_is else formats.identify(head)
        if kind == formats.RAW:
            yield Source(Size(os.fstat(descriptor).st_size), lambda: transfer.extents_of_file(path))
        else:
            yield _converted(hosts, kind, head, path, request)


def require_readable(request: Request) -> None:
    """Raises what makes a local path unusable before anything is done; says nothing about URLs."""
    if not paths.is_remote(request.path):
        with _opened(request):
            pass


@contextmanager
def _opened(request: Request) -> Iterator[tuple[int, bytes]]:
    """A local image's descriptor and first bytes.

    Everything reads what was opened here: by the time it is read, the path may lead to another file.
    """
    paths.require_allowed(request.path, request.restricted, request.safe)
    try:
        descriptor = os.open(request.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NotFoundError(f"cannot read image {request.path}: {error.strerror}") from error
    try:
        # Once more for what was really opened: a link may have been changed since.
        paths.require_allowed(f"/proc/self/fd/{descriptor}", request.restricted, request.safe)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RefusedError(f"image {request.path} is not a regular file")
        if not found.st_size:
            raise RefusedError(f"image {request.path} is empty")
        yield descriptor, os.pread(descriptor, formats.HEAD, 0)
    finally:
        os.close(descriptor)


@contextmanager
def _downloaded(hosts: Hosts, request: Request, where: str) -> Iterator[Source]:
    what = f"fetching image {paths.shown(request.path)}"
    with hosts.stream(_downloader_call(request, where), what, environment=request.environment) as stream:
        head = stream.read(formats.HEAD)
        kind = formats.RAW if request.as_is else formats.identify(head)
        if kind == formats.RAW:
            yield Source(
                None,
                lambda: _not_empty(transfer.extents_of_stream(stream, head), head, paths.shown(request.path)),
            )
            return
        staged = _stage(stream, head, request.staging)
    try:
        yield _converted(hosts, kind, head, _path_of(staged), request)
    finally:
        os.close(staged)


def _downloader_call(request: Request, where: str) -> list[str]:
    options = [*request.hashes]
    if request.no_decompress:
        options.append("--nodecomp")
    if request.limit:
        options += ["--limit", request.limit]
    return [request.downloader, *options, where, "-"]


def _not_empty(extents: Iterator[Extent], head: bytes, name: str) -> Iterator[Extent]:
    yield from extents
    if not head:
        raise RefusedError(f"image {name} is empty")


def _stage(stream: Stream, head: bytes, directory: str) -> int:
    descriptor = _nameless_file(directory)
    try:
        for start, chunk in transfer.chunks_of_stream(stream, head):
            for offset, data in transfer.without_zeros(chunk, start):
                _write_all(descriptor, data, offset)
            # To qemu-img, clusters beyond the end of the file are damage, even if they hold zeros only.
            os.ftruncate(descriptor, start + len(chunk))
        return descriptor
    except OSError as error:
        os.close(descriptor)
        raise NoSpaceError(
            f"cannot stage the image in {directory}: {error.strerror}",
            hint="see STAGING_DIR of the datastore",
        ) from error
    except BaseException:
        os.close(descriptor)
        raise


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view = view[done:]
        offset += done


def _nameless_file(directory: str) -> int:
    name = os.path.join(directory, f".linstor-{os.getpid()}-{os.urandom(6).hex()}")
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoSpaceError(
            f"cannot stage the image in {directory}: {error.strerror}",
            hint="see STAGING_DIR of the datastore",
        ) from error
    os.unlink(name)
    return descriptor


def _path_of(descriptor: int) -> str:
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _converted(hosts: Hosts, kind: str, head: bytes, path: str, request: Request) -> Source:
    name = paths.shown(request.path)
    formats.require_self_contained(kind, head, name)
    try:
        info = json.loads(hosts.local(["qemu-img", "info", "--output=json", "-f", kind, path]))
        size = Size.of_bytes(int(info["virtual-size"]))
        _require_sound(hosts, kind, path)
    except (CommandFailed, KeyError, ValueError) as error:
        raise RefusedError(
            f"image {request.path} is not a usable {kind} image", details=str(error)
        ) from error
    return Source(size, lambda: _windows(hosts, kind, path, size, request.staging))


def _require_sound(hosts: Hosts, kind: str, path: str) -> None:
    """Raises CommandFailed for a damaged image.

    A truncated one must be found here: qemu-img reads zeros behind the end of a file, without an error.
    """
    try:
        hosts.local(["qemu-img", "check", "-q", "-f", kind, path])
    except CommandFailed as error:
        if error.status not in (_CHECK_FOUND_LEAKS, _CHECK_UNSUPPORTED):
            raise


def _windows(hosts: Hosts, kind: str, path: str, size: Size, staging: str) -> Iterator[Extent]:
    window = _nameless_file(staging)
    try:
        for offset in range(0, size.bytes, WINDOW):
            length = min(WINDOW, size.bytes - offset)
            options = (
                f"driver=raw,offset={offset},size={length},file.driver={kind},"
                f"file.file.driver=file,file.file.filename={path.replace(',', ',,')}"
            )
            hosts.local(["qemu-img", "convert", "-O", "raw", "--image-opts", options, _path_of(window)])
            yield from transfer.extents_of_file(_path_of(window), offset)
    finally:
        os.close(window)
