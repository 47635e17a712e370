# SPDX-License-Identifier: Apache-2.0
"""Every command that the driver runs on a host, and how its output is read.

Hosts need bash, coreutils, util-linux and the mkfs programs; nothing of ours is installed there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from linstor_helper.errors import ConfigError
from linstor_helper.filesystems import FileSystem
from linstor_helper.shell import Script, command, quote

BY_RES = "/dev/drbd/by-res"

_FORCE: Mapping[str, tuple[str, ...]] = {
    "ext2": ("-F",),
    "ext3": ("-F",),
    "ext4": ("-F",),
    "xfs": ("-f",),
    "btrfs": ("-f",),
    "vfat": ("-I",),
    "ntfs": ("-F", "-Q"),
}
# A discard of the whole device would be sent to every replica, for blocks that a new volume does not have.
_NO_DISCARD: Mapping[str, tuple[str, ...]] = {
    "ext2": ("-E", "nodiscard"),
    "ext3": ("-E", "nodiscard"),
    "ext4": ("-E", "nodiscard"),
    "xfs": ("-K",),
    "btrfs": ("-K",),
}


def by_res(resource: str) -> str:
    """The stable path of volume 0 of a DRBD resource, made by DRBD's udev rules.

    A minor number can come to belong to another VM's disk, this path can not.
    """
    return f"{BY_RES}/{resource}/0"


def resource_of(device: str) -> str:
    """The resource that a link by ``by_res`` points to, or an empty string for any other path."""
    parts = device.split("/")
    return parts[4] if device.startswith(BY_RES + "/") and len(parts) == 6 else ""


def wait_for_device(device: str, seconds: int) -> Script:
    """Waits until the block device exists: udev needs a moment after LINSTOR's answer."""
    path = quote(device)
    complaint = quote(
        f"{device} did not appear within {seconds} s; is drbd-utils with its udev rules installed?"
    )
    return Script(
        (
            (
                f"until test -b {path}; do test $SECONDS -lt {int(seconds)} || {{ echo {complaint} >&2; exit 1; }}; "
                "sleep 0.1; done"
            ),
        )
    )


def wait_for_size(device: str, size: int, seconds: int) -> Script:
    """Waits until the device has at least ``size`` bytes."""
    complaint = quote(f"{device} has not grown within {seconds} s; see `drbdadm status`")
    now = "$(" + device_size(device).lines[0] + ")"
    return Script(
        (
            (
                f"until test {now} -ge {int(size)}; do test $SECONDS -lt {int(seconds)} || "
                f"{{ echo {complaint} >&2; exit 1; }}; sleep 0.1; done"
            ),
        )
    )


def link(device: str, path: str) -> Script:
    """Makes ``path`` a symbolic link to the device, in place of whatever link was there."""
    return command("mkdir", "-p", posixpath.dirname(path)) + command("ln", "-sfnT", device, path)


def unlink(path: str) -> Script:
    return command("rm", "-f", path)


def list_other_links(path: str, device: str, datastores: str, *, remove: bool) -> Script:
    """Prints the links of other VMs on this host to the device that the link ``path`` points to, one a line.

    ``device`` is where it points if it is gone already; ``datastores`` is the directory of the system datastores,
    whose links are ``<datastore>/<vm>/disk.<n>``.  ``remove``: the link ``path`` itself is removed before.
    """
    return Script(
        (
            f"device=$(readlink {quote(path)} || echo {quote(device)})",
            *(unlink(path).lines if remove else ()),
            (
                f"for link in {quote(datastores)}/*/*/disk.*; do "
                f'if test "$link" != {quote(path)} && test "$(readlink "$link" || true)" = "$device"; '
                'then echo "$link"; fi; done'
            ),
        )
    )


def vm_of_link(path: str) -> int | None:
    """The id of the VM that a link listed by ``list_other_links`` belongs to."""
    directory = posixpath.basename(posixpath.dirname(path))
    return int(directory) if directory.isdigit() else None


def is_device(device: str) -> Script:
    """A condition: the device is there."""
    return command("test", "-b", device)


def is_link_to(path: str, device: str) -> Script:
    """A condition: ``path`` is a link to the device, and the device is there."""
    return Script((f'test "$(readlink {quote(path)})" = {quote(device)} && {is_device(device).lines[0]}',))


def tell(condition: Script) -> Script:
    """Prints ``yes`` or ``no``."""
    return Script((f"if {condition.lines[0]}; then echo yes; else echo no; fi",))


def list_broken_links(links: Mapping[str, str]) -> Script:
    """Prints those of the paths that are no link to their device, or whose device is not there, one a line."""
    return Script(
        tuple(
            f"{is_link_to(path, device).lines[0]} || {command('echo', path).lines[0]}"
            for path, device in links.items()
        )
    )


def disk_links(directory: str) -> Script:
    """Prints the targets of the links ``disk.*`` in a VM's directory, one a line."""
    return Script((f'for link in {quote(directory)}/disk.*; do readlink "$link" || true; done',))


def remove_directory(path: str) -> Script:
    """Removes a VM's directory, but nothing that is mounted in it."""
    return command("rm", "-rf", "--one-file-system", path)


_PROBE = ".probe."


def make_probe(directory: str) -> Script:
    """Makes a directory with a new file in it, in the place of one that a killed run left, and prints its name."""
    made = command("mktemp", posixpath.join(directory, f"{_PROBE}XXXXXXXX")).lines[0]
    old = f"{quote(posixpath.join(directory, _PROBE))}*"
    return command("mkdir", "-p", directory) + Script((f"rm -f {old}", f"basename $({made})"))


def remove_probe(path: str) -> Script:
    """Fails when it is gone: then another run works on the directory, and what was looked up proves nothing."""
    return command("rm", path)


def has_file(path: str) -> Script:
    """A condition: there is a file of that name."""
    return command("test", "-e", path)


_STAYS = f"\\( -type l -name 'disk.*' -lname '/dev/*' -o -name '{_PROBE}*' \\)"
"""For ``find``: what does not move along with the directory of a VM, the links to its volumes above all."""

ABSENT, SAME, PACKED = "absent", "same  ", "packed"
"""First word of what ``pack`` prints, all of one length."""


def pack(directory: str, probe: str) -> Script:
    """Prints one of the three words above and, after the last one, an archive of the directory without its links to
    volumes.  ``SAME``: there is a file ``probe`` in the directory, which was made in the one that it is to go to.

    That a file changed while it was read (status 1 of tar) is no failure: the VM may run.
    """
    seen = command("test", "-e", posixpath.join(directory, probe)).lines[0]
    there = command("test", "-d", directory).lines[0]
    archive = (
        f"cd {quote(directory)}; tar --create --sparse --anchored --no-wildcards "
        f"--exclude-from=<(find . -maxdepth 1 {_STAYS}) --file=- . || test $? -eq 1"
    )
    return Script(
        (
            (
                f"if ! {there}; then printf '%s' {quote(ABSENT)}; elif {seen}; then printf '%s' {quote(SAME)}; "
                f"else printf '%s' {quote(PACKED)}; {archive}; fi"
            ),
        )
    )


def unpack(directory: str) -> Script:
    """Begins to unpack an archive that comes in pieces, each announced by ``piece``.

    A coprocess, because bash before 4.4 cannot wait for a process substitution.
    """
    extract = command("tar", "--extract", "--sparse", "--file=-", f"--directory={directory}").lines[0]
    return Script(
        (f'coproc {extract}; tar=$COPROC_PID; exec 3>&"${{COPROC[1]}}"; eval "exec ${{COPROC[1]}}>&-"',)
    )


def piece(length: int) -> bytes:
    """The line that passes the ``length`` bytes that follow it on the same standard input to ``unpack``."""
    line = command("dd", "bs=1M", f"count={length}", "iflag=fullblock,count_bytes", "status=none").lines[0]
    return f"{line} >&3\n".encode()


def unpacked() -> bytes:
    """The line that ends ``unpack``; it fails when that did."""
    return b'exec 3>&-; wait "$tar"\n'


def move_entries(source: str, target: str) -> Script:
    """Moves everything but links to volumes from one directory to another one on the same host."""
    found = f"find . -mindepth 1 -maxdepth 1 ! {_STAYS}"
    # Between file systems mv does not take up again what it had begun.
    copying = f"{found} -exec cp -a --sparse=always -t {quote(target)} {{}} +"
    moving = f"cd {quote(source)}; {found} -exec mv -f -t {quote(target)} {{}} + || {copying}"
    there = command("test", "-d", source).lines[0]
    return command("mkdir", "-p", target) + Script((f"if {there}; then {moving}; fi",))


def make_file_system(file_system: FileSystem, device: str) -> Script:
    """Raises ConfigError for a file system that the driver does not know how to make without questions."""
    kind, options = file_system
    if kind not in _FORCE:
        raise ConfigError(
            f"file system {kind!r} is not supported", hint="use one of " + ", ".join(sorted(_FORCE))
        )
    return command(f"mkfs.{kind}", *_FORCE[kind], *(options or _NO_DISCARD.get(kind, ())), device) + flush(
        device
    )


def make_swap(device: str) -> Script:
    return command("mkswap", "-L", "swap", device) + flush(device)


def write_at(device: str, offset: int, length: int) -> bytes:
    """The line that makes ``length`` bytes, which follow it on the same standard input, the content at ``offset``.

    nocreat: should the device be gone, no file must take its place in /dev.
    """
    line = command(
        "dd", f"of={device}", "bs=1M", f"seek={offset}", f"count={length}",
        "iflag=fullblock,count_bytes", "oflag=seek_bytes", "conv=notrunc,nocreat", "status=none",
    )  # fmt: skip
    return line.lines[0].encode() + b"\n"


def zero(device: str, offset: int, length: int) -> Script:
    """Makes a range read as zeros."""
    return command("blkdiscard", "-z", "-o", offset, "-l", length, device)


def zero_from(device: str, offset: int) -> Script:
    """Makes everything from ``offset`` to the end of the device read as zeros; nothing when the device ends there."""
    size = "$(" + device_size(device).lines[0] + ")"
    return Script(
        (f"test {size} -le {int(offset)} || {command('blkdiscard', '-z', '-o', offset, device).lines[0]}",)
    )


def flush(device: str) -> Script:
    """Returns when everything that was written to the device is on all replicas' disks."""
    return command("dd", "if=/dev/null", f"of={device}", "conv=notrunc,nocreat,fsync", "status=none")


def read_all(device: str, length: int) -> Script:
    """Sends the first ``length`` bytes of the device to stdout."""
    return command(
        "dd", f"if={device}", "bs=1M", f"count={length}", "iflag=fullblock,count_bytes", "status=none"
    )


def device_size(device: str) -> Script:
    """Prints the size in bytes."""
    return command("blockdev", "--getsize64", device)


_VIRSH = ("virsh", "-c", "qemu:///system")
_AGENT_ANSWERS = 10
"""Seconds that a guest agent may take for one command."""

FROZEN, RELEASED, EXPIRED, STUCK = "frozen", "released", "expired", "stuck"
"""What ``freeze`` prints; any other first line says why the guest was not frozen."""

FREEZE_ANSWERS = 5 * _AGENT_ANSWERS
"""Seconds after which ``freeze`` has printed its first line, and after our word its second one."""


def freeze(domain: str, longest: int) -> Script:
    """Freezes a guest's file systems and prints one line; thaws them when it gets a line, when its standard input ends
    (the driver is gone), and after ``longest`` seconds; then prints how it came out.

    An agent that did not answer in time may freeze later, so that the guest is thawed after that as well; but not after
    a refusal, when somebody else may have frozen it.  An agent that does not thaw is asked again and again, from the
    background.
    """
    waiting = f"timeout -k 1 {_AGENT_ANSWERS}"
    freezing = f"{waiting} {command(*_VIRSH, 'domfsfreeze', domain).lines[0]} </dev/null"
    thawing = f"{waiting} {command(*_VIRSH, 'domfsthaw', domain).lines[0]} </dev/null >/dev/null 2>&1"
    persisting = f"for turn in {{1..60}}; do {thawing} && exit; sleep {_AGENT_ANSWERS}; done"
    return Script(
        (
            (
                f"thaw() {{ for turn in 1 2 3; do {thawing} && return; sleep 1; done; end={STUCK}; "
                f"setsid -f bash -c {quote(persisting)} </dev/null >/dev/null 2>&1; }}"
            ),
            (
                f"{{ trap '' PIPE; end={EXPIRED}; if said=$({freezing} 2>&1); then trap thaw EXIT; "
                f"trap 'exit 1' HUP INT TERM; echo {FROZEN}; "
                f"if read -r -t {int(longest)} word; then end={RELEASED}; fi; thaw; trap - EXIT; echo $end; "
                "else case $? in 124|137) said='the guest agent did not answer in time'; thaw;; esac; "
                'echo "${said##*error: }" | tr -s "\\n" " "; echo; fi; }'
            ),
        )
    )


_VIRTUAL_SIZE = command("sed", "-n", r's/^    "virtual-size": \([0-9]*\),*$/\1/p').lines[0]
"""Filters the size in bytes out of what ``qemu-img info`` tells as JSON; nested images are indented deeper."""


def tell_instance(domain: str) -> Script:
    """Prints two words of which one is another one after each start of the domain."""
    return command("cat", "/proc/sys/kernel/random/boot_id") + command(*_VIRSH, "domid", domain)


def grow_qcow2(device: str, size: int) -> Script:
    """Makes the virtual size in a qcow2 header on a device ``size`` bytes, unless it is larger already."""
    image = command("qemu-img", "info", "-f", "qcow2", "--output=json", device).lines[0]
    resizing = command("qemu-img", "resize", "-q", "-f", "qcow2", device, size).lines[0]
    return Script(
        (
            f"now=$({image} | {_VIRTUAL_SIZE})",
            f'test -n "$now"; test "$now" -ge {int(size)} || {resizing}',
        )
    )


_EXPORTED = "one-linstor-export."
_FORGOTTEN = 2 * 24 * 60
"""Minutes after which an exported file goes that no marketplace has fetched: nobody is told when one fails."""


def export_image(device: str, form: str, wanted: str, staging: str) -> Script:
    """Converts what is on a device to a file in a new directory below ``staging``, and prints its path, its MD5 and its
    virtual size in bytes, one a line.

    A file that cannot be finished does not stay.  Others may write to ``staging``: the name is one that nobody knows.
    """
    converting = command("qemu-img", "convert", "-f", form, "-O", wanted, device).lines[0]
    size = command("qemu-img", "info", "-f", wanted, "--output=json").lines[0]
    forgotten = command(
        "find", staging, "-mindepth", 1, "-maxdepth", 1, "-type", "d",
        "-name", f"{_EXPORTED}*", "-mmin", f"+{_FORGOTTEN}", "-exec", "rm", "-rf", "{}", "+",
    )  # fmt: skip
    return Script(
        (
            *command("mkdir", "-p", staging).lines,
            *forgotten.or_else(command("true")).lines,
            f"directory=$({command('mktemp', '-d', posixpath.join(staging, _EXPORTED + 'XXXXXXXX')).lines[0]})",
            "trap 'rm -rf \"$directory\"' EXIT",
            f"file=$directory/image.{wanted}",
            f'{converting} "$file"',
            'echo "$file"',
            "md5sum \"$file\" | cut -d ' ' -f 1",
            f'{size} "$file" | {_VIRTUAL_SIZE}',
            "trap - EXIT",
        )
    )


def remove_exported(path: str) -> Script:
    """Removes an exported file with its directory."""
    return command("rm", "-rf", posixpath.dirname(path))
