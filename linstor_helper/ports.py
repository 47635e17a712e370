# SPDX-License-Identifier: Apache-2.0
"""What the operations need of the outside world: narrow interfaces and the records that cross them.

Every method raises the classes of ``errors``; none of them leaks an exception of the library behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Callable, NamedTuple, Protocol

from linstor_helper.shell import Script
from linstor_helper.units import Size

# Flags of a resource or resource definition that the driver looks at (REST 1.25 ... 1.29).
DELETING = frozenset({"DELETE", "DRBD_DELETE"})
UNFINISHED = frozenset({"CLONING", "FAILED", "RESTORE_TARGET"})

Warn = Callable[[str], None]
"""Takes what the administrator should know although the action goes on."""


class ResourceDefinition(NamedTuple):
    """A LINSTOR resource definition with the sizes of its volumes, in the order of their numbers."""

    name: str
    uuid: str
    resource_group: str
    properties: Mapping[str, str]
    flags: frozenset[str]
    sizes: tuple[Size, ...]
    resizing: bool = False
    """Whether LINSTOR has noted a size that not all nodes have yet."""

    @property
    def deleting(self) -> bool:
        return bool(self.flags & DELETING)


class Resource(NamedTuple):
    """A resource on one node."""

    name: str
    node: str
    flags: frozenset[str]
    in_use: bool | None
    """None when the satellite is offline, has not reported yet, or there is no DRBD: unknown, not "no"."""
    layers: tuple[str, ...]
    device_path: str | None
    """Of volume 0, as the controller names it (/dev/drbd1000, /dev/vg/lv_00000); None while not deployed."""
    disk_state: str | None
    """Of volume 0, in DRBD's words (UpToDate, Diskless, ...)."""
    provider: str | None = None
    """Of volume 0 (LVM_THIN, ZFS, ...); known only from ``Controller.placement``."""
    may_promote: bool | None = None
    """Whether DRBD would let this node write now: it has quorum and up-to-date data, and nobody else writes.
    None when it is not told, and of a silent node, where LINSTOR keeps what was true last."""
    lost: tuple[str, ...] = ()
    """The peers to which DRBD on this node has no connection."""
    size: Size | None = None
    """What can be used of volume 0 on this node; None while not deployed.  Devices are rounded up to whole extents."""
    uuid: str = ""
    """Another one for each resource that was made, also when it has the place of one that was deleted."""
    unreverted: str = ""
    """The snapshot that has the content of the volume, when this resource was made by a revert that failed."""

    @property
    def deleting(self) -> bool:
        return bool(self.flags & DELETING)

    @property
    def tie_breaker(self) -> bool:
        return "TIE_BREAKER" in self.flags

    @property
    def diskless(self) -> bool:
        return bool(self.flags & {"DISKLESS", "DRBD_DISKLESS", "NVME_INITIATOR"})

    @property
    def silent(self) -> bool:
        """Whether DRBD on this node tells nothing: offline, or just made.  Without DRBD there is nothing to tell."""
        return "DRBD" in self.layers and self.in_use is None


class Snapshot(NamedTuple):
    """A snapshot of a resource definition, on the nodes that had a replica and were online when it was taken."""

    name: str
    nodes: tuple[str, ...]
    flags: frozenset[str]
    sizes: tuple[Size, ...]
    """Of the volumes when it was taken, in the order of their numbers."""
    taken_at: float | None = None
    """Seconds since the epoch, by the controller's clock; None while it is not finished."""
    note: str = ""
    """What was noted when it was taken; LINSTOR before 1.32 forgets that."""

    @property
    def by_rollback(self) -> bool:
        """Whether LINSTOR took it in a rollback, to undo that should it fail."""
        return "SAFETY_SNAPSHOT" in self.flags

    @property
    def usable(self) -> bool:
        """Whether LINSTOR took it on all of its nodes, and does not delete it."""
        return "SUCCESSFUL" in self.flags and not self.flags & DELETING


class Node(NamedTuple):
    """A node of the cluster."""

    name: str
    uname: str
    addresses: tuple[str, ...]
    status: str
    """``ONLINE`` when it can do work; everything else cannot."""
    flags: frozenset[str]


class Space(NamedTuple):
    """What a resource group can still hold, replicas and constraints taken into account."""

    capacity: Size
    available: Size
    largest_volume: Size


class Controller(Protocol):
    """A LINSTOR cluster."""

    def identity(self) -> frozenset[str]:
        """The addresses of the controllers: two datastores are in one cluster when these meet."""

    def spawn(self, group: str, name: str, size: Size, properties: Mapping[str, str]) -> None:
        """Makes a resource definition with one volume and places it.  Raises ConflictError when the name is taken."""

    def resource_definition(self, name: str) -> ResourceDefinition | None:
        """The definition, or None."""

    def resources(self, name: str) -> list[Resource]:
        """The resources of a definition on all nodes; empty when there is no such definition."""

    def placement(self, name: str) -> list[Resource]:
        """As ``resources``, with the provider of each; this asks the satellites that hold the resource."""

    def place(self, name: str) -> None:
        """Adds the replicas that the resource group wants and that are not there yet."""

    def clone(
        self,
        source: str,
        name: str,
        *,
        group: str | None,
        properties: Mapping[str, str],
        drop: Sequence[str],
        size: Size | None,
        dependent: bool,
    ) -> CloneResult:
        """Starts a copy of all volumes.  Raises ConflictError when the name is taken, NotReadyError while a replica
        of the source is not up to date, CannotClone when its provider has no clones.

        ``dependent``: on ZFS the copy may share its blocks with the source for ever, so that it is there at once.
        """

    def clone_state(self, source: str, name: str) -> str:
        """``COMPLETE``, ``CLONING`` or ``FAILED`` (which may be transient)."""

    def make_available(self, name: str, node: str) -> None:
        """Lets a node open the device, with or without a disk of its own."""

    def let_migrate(self, name: str, source: str, target: str, *, clients: bool) -> None:
        """Makes the volume available on ``target``, and lets ``source`` and ``target`` have it open for writing at
        the same time, until ``release`` of either.

        ``clients``: neither of them has a disk, so that there is no connection between them to allow it on.
        Raises as ``make_available``; NotReadyError while another migration of the volume has not ended.
        """

    def two_primaries(self, name: str) -> list[tuple[str, str]]:
        """The pairs of nodes that may have the volume open for writing at the same time, by their connections."""

    def forbid_two_primaries(self, name: str, pair: tuple[str, str]) -> None:
        """Ends what ``let_migrate`` allowed to a pair of nodes."""

    def forbid_on_definition(self, name: str) -> None:
        """Ends what the definition of a volume allows to all nodes, unless it is shared for good."""

    def release(
        self, name: str, node: str, *, shared: bool = False, resources: Sequence[Resource] | None = None
    ) -> bool:
        """Takes a volume from a node that has closed it: a diskless resource goes, replicas with a disk and the
        tie-breaker stay.  Afterwards no two nodes may write, unless the volume is ``shared`` for good.

        ``resources`` are all those of the volume, when they were read a moment ago.
        Raises InUseError while the node has it open.  False when LINSTOR did not tell of a resource there: perhaps
        the node has another name.
        """

    def regroup(self, name: str, group: str) -> None:
        """Puts a resource definition into another resource group; the replicas that it has stay where they are."""

    def modify(self, name: str, properties: Mapping[str, str], drop: Sequence[str] = ()) -> None:
        """Sets and removes properties of a resource definition."""

    def mark_unreverted(self, name: str, node: str, snapshot: str) -> None:
        """Notes on a resource that it has lost its content, and which snapshot has it."""

    def resize(self, name: str, size: Size) -> None:
        """Grows volume 0 on all replicas.  Never shrinks."""

    def delete(self, name: str) -> bool:
        """Deletes a resource definition, its snapshots included.  False when there was none."""

    def version(self) -> tuple[int, ...]:
        """Of LINSTOR itself, such as (1, 32, 3)."""

    def snapshots(self, name: str) -> list[Snapshot]:
        """The snapshots of a definition, whoever took them; empty when there is no such definition."""

    def take_snapshot(self, name: str, snapshot: str, note: str = "") -> None:
        """Takes a snapshot on all replicas that are online, at one point in time, and notes something with it.

        Raises ConflictError when the name is taken, CannotSnapshot when the provider of a replica has none,
        NotReadyError while a replica is not up to date.  After any other error a useless record may be there.
        """

    def delete_snapshot(self, name: str, snapshot: str) -> None:
        """Deletes a snapshot, if it is there, also while the volume is in use."""

    def roll_back(self, name: str, snapshot: str) -> None:
        """Makes content and size of a volume those of its snapshot; all snapshots stay.  Properties of the
        definition that were set when it was taken are set again (REST 1.25 and newer, not always on ZFS).

        Raises InUseError while the volume is open, NotReadyError when a node of it is offline, and nothing has changed
        then; ConflictError when a newer snapshot prevents it.
        """

    def rebuild(self, name: str, snapshot: str) -> None:
        """Makes the resources of a definition that has none any more from its snapshot, on the nodes of that."""

    def restore(
        self, name: str, snapshot: str, target: str, *, group: str, properties: Mapping[str, str]
    ) -> None:
        """Makes a new definition ``target`` with the content of a snapshot, on the nodes and in the pools of that.

        It ends up with the properties that ``name`` had when the snapshot was taken, and those of ``properties`` that
        are not among them.  Raises ConflictError when the name is taken; any later failure leaves a definition to the
        caller.
        """

    def space(self, group: str) -> Space:
        """What a resource group can hold, from LINSTOR's cache."""

    def nodes(self) -> list[Node]:
        """All nodes."""


class CloneResult(NamedTuple):
    """What of the wishes the clone call itself fulfilled; the rest is left to the caller."""

    properties_set: bool
    size_set: bool


class Stream(Protocol):
    """Bytes that can be read once, from front to back."""

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes; fewer only at the end."""


class Conversation(Protocol):
    """A script on a host that waits for our word in the middle."""

    def hear(self, timeout: float) -> str:
        """The next line that it prints, without its end; empty when it has ended or the host is not reached.

        Raises DeadlineExceeded after ``timeout`` seconds."""

    def say(self, line: str) -> None:
        """Sends a line to its standard input, and then the end of that."""


class Hosts(Protocol):
    """Running commands on hosts, and on the front-end."""

    def run(
        self,
        host: str,
        script: Script,
        what: str = "a command",
        *,
        feed: Iterable[bytes] = (),
        timeout: float | None = None,
    ) -> str:
        """Runs ``script`` by ``ssh HOST bash -s`` and returns its stdout; ``what`` it is doing, for the error.

        ``feed`` are bytes that follow the script on the same standard input; ``timeout`` is in seconds.
        Raises HostUnreachable, CommandFailed, DeadlineExceeded.
        """

    def read(self, host: str, script: Script, what: str = "a command") -> AbstractContextManager[Stream]:
        """The stdout of a script on a host, as ``stream`` gives that of a program."""

    def converse(self, host: str, script: Script) -> AbstractContextManager[Conversation]:
        """A script whose standard input stays open until we have said our word, or are gone."""

    def local(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Runs a program on the front-end and returns its stdout.  Raises CommandFailed, DeadlineExceeded."""

    def stream(
        self, argv: Sequence[str], what: str, *, environment: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Stream]:
        """The stdout of a program on the front-end; ``what`` it is doing, for the error.

        Leaving the context after the stream was read to its end raises CommandFailed when the program failed;
        leaving it earlier ends the program.
        """


class OpenNebula(Protocol):
    """What oned knows."""

    def vm(self, vm_id: int) -> bytes:
        """The <VM> document."""

    def datastore(self, datastore_id: int) -> bytes:
        """The <DATASTORE> document."""

    def image(self, image_id: int) -> bytes:
        """The <IMAGE> document."""

    def host(self, host_id: int) -> bytes:
        """The <HOST> document."""


class Locks(Protocol):
    """Mutual exclusion of driver processes on the front-end."""

    def hold(self, *names: str) -> AbstractContextManager[None]:
        """Holds the locks of these resources, in one order.  Raises DeadlineExceeded."""


class Clock(Protocol):
    """Time, so that a wait has an end."""

    def now(self) -> float:
        """Seconds of a monotonic clock."""

    def today(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None: ...
