# SPDX-License-Identifier: Apache-2.0
"""Stands for qemu-img where it is not installed: the few calls that a storage driver makes, read from real
images.

    info --output=json [-U] [-f FORMAT] FILE
    convert [-f FORMAT | --image-opts] -O raw [-U] [-n [--target-is-zero]] SOURCE TARGET
    convert [-f FORMAT | --image-opts] -O qcow2 [-U] SOURCE FILE
    create -f raw|qcow2 FILE SIZE
    resize [-q] [-f raw|qcow2] FILE SIZE
    check [-q] [-f FORMAT] FILE

``check`` exits with 2 for a damaged image and with 63 for a format that has nothing to check (raw).
A disk that a guest has open is refused where QEMU's locks (see ``guest.py``) refuse it: for writing, and, if it is
qcow2, for reading without -U.
With ``--image-opts`` the source reads ``driver=raw,offset=N,size=N,file.driver=FORMAT,file.file.driver=file,
file.file.filename=PATH``: a stretch of the disk in the image. Anything else is refused: 1, as are all errors.
"""

from __future__ import annotations

import ctypes
import fcntl
import getopt
import json
import os
import stat
import struct
import sys
from pathlib import Path

from lab.images import write_qcow2
from lab.images.qcow2_check import corruptions
from lab.images.qcow2_resize import TableFull, grow_qcow2
from lab.images.reading import Image, ImageError, open_image

CHUNK = 1 << 20
GRANULE = 4096
CLUSTER = 1 << 16
FALLOC_FL_KEEP_SIZE = 0x1
FALLOC_FL_PUNCH_HOLE = 0x2
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LOCKS = {'shared "write"': 101, '"write"': 201}
WINDOW_KEYS = {"driver", "offset", "size", "file.driver", "file.file.driver", "file.file.filename"}

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The message for the user."""


def info(words: list[str]) -> int:
    options, files = _parse(words, "f:U", ["output="])
    if options.get("--output") != "json" or len(files) != 1:
        raise Refused("the lab's stand-in knows info --output=json FILE")
    image = _open(files[0], options.get("-f"), share="-U" in options)
    told: dict[str, object] = {
        "virtual-size": image.size,
        "filename": files[0],
        "format": image.kind,
        "actual-size": os.stat(files[0]).st_blocks * 512,
        "dirty-flag": False,
    }
    if image.cluster_size:
        told["cluster-size"] = image.cluster_size
    if image.specific():
        told["format-specific"] = image.specific()
    if image.backing_name:
        told["backing-filename"] = image.backing_name
        told["full-backing-filename"] = os.path.join(os.path.dirname(files[0]), image.backing_name)
        if image.backing_kind:
            told["backing-filename-format"] = image.backing_kind.lower()
    print(json.dumps(told, indent=4))
    return 0


def convert(words: list[str]) -> int:
    options, files = _parse(words, "f:O:nU", ["image-opts", "target-is-zero"])
    if options.get("-O") not in ("raw", "qcow2") or len(files) != 2:
        raise Refused("the lab's stand-in converts one SOURCE to one TARGET with -O raw or qcow2")
    if "--target-is-zero" in options and "-n" not in options:
        raise Refused("--target-is-zero requires use of -n flag")
    if "--image-opts" in options:
        if "-f" in options:
            raise Refused("--image-opts and --format are mutually exclusive")
        image, start, length = _window(files[0])
    else:
        image = _open(files[0], options.get("-f"), share="-U" in options)
        start, length = 0, image.size
    try:
        image.start()
    except ImageError as error:
        raise Refused(f"Could not open '{files[0]}': {error}") from error
    if options["-O"] == "qcow2":
        return _convert_to_qcow2(image, start, length, files[1], existing="-n" in options)
    target, is_zero = _open_target(files[1], length, existing="-n" in options)
    try:
        _copy(image, start, length, target, skip_zeros=is_zero or "--target-is-zero" in options)
    except ImageError as error:
        raise Refused(f"error while reading: {error}") from error
    os.fsync(target)
    os.close(target)
    return 0


def _convert_to_qcow2(image: Image, start: int, length: int, target: str, *, existing: bool) -> int:
    if existing or (os.path.exists(target) and _is_device(target)):
        raise Refused("the lab's stand-in makes qcow2 in new files only")
    pieces = {}
    try:
        for offset in range(0, length, CHUNK):
            data = image.read(start + offset, min(CHUNK, length - offset))
            for at in range(0, len(data), CLUSTER):
                if data[at : at + CLUSTER].strip(b"\0"):
                    pieces[offset + at] = data[at : at + CLUSTER]
    except ImageError as error:
        raise Refused(f"error while reading: {error}") from error
    write_qcow2(Path(target), length, pieces)
    return 0


def resize(words: list[str]) -> int:
    options, files = _parse(words, "f:q", [])
    if len(files) != 2:
        raise Refused("the lab's stand-in knows resize FILE SIZE")
    image, size = _open(files[0], options.get("-f"), share=True), _size(files[1])
    _refuse_in_use(files[0], '"write"')
    if size < image.size:
        raise Refused("Use the --shrink option to perform a shrink operation.")
    try:
        if image.kind == "qcow2":
            _grow_qcow2(files[0], size)
        elif image.kind != "raw":
            raise Refused("Image format driver does not support resize")
        elif not _is_device(files[0]):
            os.truncate(files[0], size)
        elif size > image.size:
            raise Refused("Cannot grow device files")
    except TableFull as error:
        raise Refused("the lab's stand-in can not grow an image that far") from error
    if "-q" not in options:
        print("Image resized.")
    return 0


def _grow_qcow2(name: str, size: int) -> None:
    file = os.open(name, os.O_RDWR)
    try:
        grow_qcow2(
            lambda offset, length: os.pread(file, length, offset),
            lambda offset, data: _write(file, data, offset),
            size,
        )
    finally:
        os.close(file)


def create(words: list[str]) -> int:
    options, files = _parse(words, "f:", [])
    if len(files) != 2 or options.get("-f") not in ("raw", "qcow2"):
        raise Refused("the lab's stand-in knows create -f raw|qcow2 FILE SIZE")
    size = _size(files[1])
    if options["-f"] == "qcow2":
        write_qcow2(Path(files[0]), size, {})
    else:
        os.close(_open_target(files[0], size, existing=False)[0])
    print(f"Formatting '{files[0]}', fmt={options['-f']} size={size}")
    return 0


def check(words: list[str]) -> int:
    options, files = _parse(words, "f:qU", [])
    if len(files) != 1:
        raise Refused("the lab's stand-in knows check FILE")
    image = _open(files[0], options.get("-f"), share="-U" in options)
    if image.kind == "raw":
        print("qemu-img: This image format does not support checks", file=sys.stderr)
        return 63
    found = corruptions(Path(files[0])) if image.kind == "qcow2" else _unreadable(image)
    if found:
        print(f"{found} errors were found on the image.", file=sys.stderr)
    return 2 if found else 0


def _unreadable(image: Image) -> int:
    """1 when the content cannot be read to its end."""
    try:
        image.start()
        for offset in range(0, image.size, CHUNK):
            image.read(offset, min(CHUNK, image.size - offset))
    except ImageError:
        return 1
    return 0


def _parse(words: list[str], short: str, long: list[str]) -> tuple[dict[str, str], list[str]]:
    try:
        pairs, rest = getopt.gnu_getopt(words, short, long)
    except getopt.GetoptError as error:
        raise Refused(str(error)) from error
    return dict(pairs), rest


def _size(text: str) -> int:
    unit = UNITS.get(text[-1:].lower(), 1)
    number = text[:-1] if unit > 1 else text
    if not number.isdigit():
        raise Refused(f"Invalid image size specified: {text}")
    return int(number) * unit


def _open(name: str, kind: str | None, *, share: bool = False) -> Image:
    try:
        if not stat.S_ISREG(os.stat(name).st_mode) and not _is_device(name):
            raise Refused(f"Could not open '{name}': it is neither a regular file nor a block device")
        image = open_image(Path(name), kind)
        if image.kind == "qcow2" and not share:
            _refuse_in_use(name, 'shared "write"')
        return image
    except ImageError as error:
        raise Refused(f"Could not open '{name}': {error}") from error
    except OSError as error:
        raise Refused(f"Could not open '{name}': Could not open '{name}': {error.strerror}") from error


def _refuse_in_use(name: str, lock: str) -> None:
    with open(name, "rb") as file:
        wanted = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, LOCKS[lock], 1, 0)
        found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, wanted)
    if struct.unpack("hhqqi0q", found)[0] != fcntl.F_UNLCK:
        raise Refused(
            f"Could not open '{name}': Failed to get {lock} lock\nIs another process using the image [{name}]?"
        )


def _window(text: str) -> tuple[Image, int, int]:
    """Image, first byte and number of bytes that the image options name."""
    # A comma that belongs to a value is written twice.
    pairs = (pair.replace("\0", ",") for pair in text.replace(",,", "\0").split(","))
    options = dict(pair.partition("=")[::2] for pair in pairs)
    unknown = options.keys() - WINDOW_KEYS
    if unknown or options.get("driver") != "raw" or options.get("file.file.driver", "file") != "file":
        raise Refused(f"the lab's stand-in does not understand these image options: {text}")
    if "file.file.filename" not in options or "file.driver" not in options:
        raise Refused(f"a driver and a file name are missing in the image options: {text}")
    image = _open(options["file.file.filename"], options["file.driver"])
    start = _size(options.get("offset", "0"))
    length = _size(options["size"]) if "size" in options else image.size - start
    if start < 0 or length < 0 or start + length > image.size:
        raise Refused(
            "The sum of offset and size has to be smaller or equal to the actual size of the containing file"
        )
    return image, start, length


def _is_device(name: str) -> bool:
    """A block device, or a file that stands for one in the lab."""
    real = os.path.realpath(name)
    places = ["/dev/", os.environ.get("LAB_HOST_DIR", "/dev") + "/dev/"]
    if stat.S_ISBLK(os.stat(name).st_mode):
        return True
    return (
        stat.S_ISREG(os.stat(name).st_mode)
        and real.startswith(tuple(places))
        and not real.startswith("/dev/shm/")
    )


def _open_target(name: str, size: int, *, existing: bool) -> tuple[int, bool]:
    """The file to write to, and whether it holds only zeros."""
    try:
        if os.path.exists(name):
            _refuse_in_use(name, '"write"')
        if existing or (os.path.exists(name) and _is_device(name)):
            target = os.open(name, os.O_RDWR)
            if os.lseek(target, 0, os.SEEK_END) < size:
                raise Refused(
                    "output file is smaller than input file" if existing else f"{name}: device is too small"
                )
            return target, False
        target = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.ftruncate(target, size)
    except OSError as error:
        raise Refused(f"Could not open '{name}': {error.strerror}") from error
    return target, True


def _copy(image: Image, start: int, length: int, target: int, *, skip_zeros: bool) -> None:
    zeros = bytes(CHUNK)
    done = 0
    while done < length:
        data = image.read(start + done, min(CHUNK, length - done))
        if data == zeros[: len(data)]:
            if not skip_zeros:
                _zero(target, done, len(data))
        else:
            for at in range(0, len(data), GRANULE):
                part = data[at : at + GRANULE]
                if part != zeros[: len(part)]:
                    _write(target, part, done + at)
                elif not skip_zeros:
                    _zero(target, done + at, len(part))
        done += len(data)


def _write(target: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(target, data, offset)
        data, offset = data[count:], offset + count


def _zero(target: int, offset: int, length: int) -> None:
    """Release the blocks, where the file system or the device can."""
    flags = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
    if libc.fallocate(target, flags, ctypes.c_long(offset), ctypes.c_long(length)):
        _write(target, bytes(length), offset)


def main(words: list[str]) -> int:
    commands = {"info": info, "convert": convert, "create": create, "check": check, "resize": resize}
    try:
        if not words or words[0] not in commands:
            raise Refused(f"the lab's stand-in knows {', '.join(commands)} only")
        return commands[words[0]](words[1:])
    except Refused as error:
        print(f"qemu-img: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"qemu-img: error while writing: {error.strerror}", file=sys.stderr)
        return 1
