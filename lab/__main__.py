# SPDX-License-Identifier: Apache-2.0
"""``python3 -m lab``: start the standard cloud, say how to use it, stay until Ctrl-C."""

from __future__ import annotations

import argparse
import base64
import gzip
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lab.cloud import HOSTS, Cloud
from lab.one import documents
from lab.one.model import Image, ImageState, LcmState, VmState

MIB = 1 << 20
IMAGE_SIZE_MB = 64
MIGRATION_TARGET = "dave"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description=__doc__)
    parser.add_argument("--root", type=Path, help="keep the state in this new directory")
    parser.add_argument("--one-version", default="7.4.0", help="act as this OpenNebula (default %(default)s)")
    parser.add_argument("--rest-version", default="1.28.0", help="LINSTOR REST version (default %(default)s)")
    parser.add_argument("--provider", default="LVM_THIN", help="kind of the pools (default %(default)s)")
    options = parser.parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    cloud = Cloud(
        options.root,
        one_version=options.one_version,
        rest_version=options.rest_version,
        provider=options.provider,
    )
    with cloud:
        for line in introduction(cloud):
            print(line)
        sys.stdout.flush()
        stopped.wait()
        print("Stopping.")
    return 0


def introduction(cloud: Cloud) -> Iterator[str]:
    """What is there and what to try; makes the sample images and the files that the commands read."""
    raw, packed = sample_images(cloud.images_dir)
    url = cloud.controller.url
    yield f"Controller   {url}   (REST {cloud.cluster.rest_version_text})"
    yield f"OpenNebula   {cloud.one.xmlrpc.url}   (acts as {cloud.one.version})"
    hosts = cloud.hosts
    yield f"Hosts        {', '.join(HOSTS)}   (devices: {hosts.mode}, isolation: {hosts.isolation})"
    yield f"Images       {raw} {packed}"
    yield f"State        {cloud.root}"
    yield ""
    yield "In another shell:"
    yield from (f"  {line}" for line in export_lines(cloud))
    yield ""
    yield "Ask the controller:"
    for path in ("controller/version", "view/storage-pools", "resource-definitions", "view/resources"):
        yield f"  curl -s {url}/v1/{path}"
    yield "  ssh alice 'ls -lR /dev/drbd'"
    yield ""
    yield "Call drivers as oned would (its working directory is ONE_LOCATION/var):"
    yield f"  cd {cloud.one.tree.var}"
    yield from (f"  {line}" for line in driver_calls(cloud, packed))
    yield ""
    yield "Press Ctrl-C to stop."


def export_lines(cloud: Cloud) -> Iterator[str]:
    """Shell lines for what a driver needs from its environment, apart from whose it is."""
    own = (cloud.hosts.bin_dir, cloud.one.tree.bin)
    yield f"export PATH={':'.join(str(one) for one in own)}:$PATH"
    for name, value in sorted(cloud.env().items()):
        if name.startswith(("ONE_", "LAB_")) or name in ("PYTHONPATH", "PRIORITY"):
            yield f"export {name}={shlex.quote(value)}"


def sample_images(directory: Path) -> tuple[Path, Path]:
    """A sparse raw image and a compressed one."""
    raw, packed = directory / "sample.raw", directory / "sample.raw.gz"
    with open(raw, "wb") as out:
        out.write(b"a sample image\n")
        out.truncate(IMAGE_SIZE_MB * MIB)
    packed.write_bytes(gzip.compress(raw.read_bytes(), 1))
    return raw, packed


def driver_calls(cloud: Cloud, path: Path) -> Iterator[str]:
    """Command lines that register an image, give a VM a copy and a scratch disk, take the VM to another host
    while it runs, and take all away again."""
    one = cloud.one

    def document(name: str, text: str) -> Path:
        path = cloud.root / f"{name}.xml.b64"
        path.write_text(base64.b64encode(text.encode()).decode())
        return path

    known = one.image_create("sample", size=IMAGE_SIZE_MB, source="unknown yet", format="raw")
    known.source = f"OpenNebula-Image-{known.id}"
    fresh = replace(
        known, source="", path=str(path), format="", state=ImageState.LOCKED, prev_state=ImageState.INIT
    )

    def datastore(action: str, image: Image) -> str:
        encoded = document(action, one.image_document(image))
        command = f"remotes/datastore/linstor/{action}"
        if one.version.datastore_xml_on_stdin:
            return f"{command} {image.id} < {encoded}"
        return f'{command} "$(cat {encoded})" {image.id}'

    yield datastore("cp", fresh)
    vm = one.vm_prepare([known, {"TYPE": "fs", "SIZE": 128}])
    yield from map(_command, one.lines.prolog(vm))
    yield f"ssh {vm.host} ls -l {one.lines.directory(vm)}"
    target = one.inventory.host_named(MIGRATION_TARGET)
    vm.history.append(replace(vm.record, seq=1, host=target.name, host_id=target.id))
    vm.set_state(VmState.ACTIVE, LcmState.MIGRATE)
    encoded = document("migrate", documents.driver_virtual_machine(vm, one.version))
    for hook in ("PRE", "POST"):
        yield f"{_command(one.lines.live_migration(vm, hook))} < {encoded}"
    yield f"ssh {vm.host} ls -l {one.lines.directory(vm)}"
    yield from map(_command, one.lines.epilog(vm))
    yield datastore("rm", known)


def _command(line: str) -> str:
    action, driver, *arguments = line.split()
    return f"remotes/tm/{driver}/{action.lower()} {' '.join(arguments)}"


if __name__ == "__main__":
    sys.exit(main())
