# SPDX-License-Identifier: Apache-2.0
"""Moves bytes between the caller of ssh and the command on the host.

The command never holds the caller's own descriptors: when the ssh client is killed, its caller sees the end
of the output at once, while the command on the host learns of it only by EOF and EPIPE. So it is with a
real connection. When the caller is killed, the client lives on until the command ends: all that the command
gets is the end of its input. While the network is down nothing passes, in either direction.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1 << 18
LINK_SECONDS = 0.05
# Not from the module signal, which takes longer to load than this program to start a command.
SIGPIPE = 13


class Silence(Exception):
    """Nothing came from the host for as long as the client waits."""


class Channel:
    """One command. ``sent`` and ``received``: bytes of standard input and output that passed.

    ``cut_at``: number of input bytes after which the connection breaks; ``cut`` tells that it did.
    ``mute``: the output gets lost on its way. ``link_is_down`` tells of the network. ``patience``: seconds of
    silence after which the client gives up (None: never); ``server_patience``: seconds after which sshd closes
    the session of a silent client.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        link_is_down: Callable[[], bool],
        *,
        no_input: bool,
        patience: float | None,
        server_patience: float,
        cut_at: int | None = None,
        mute: bool = False,
    ) -> None:
        self.sent = 0
        self.received = 0
        self.cut = False
        self._command = command
        self._environment = environment
        self._link_is_down = link_is_down
        self._patience = patience
        self._server_patience = server_patience
        self._looked_at_link = 0.0
        self._input_open = not no_input
        self._cut_at = cut_at
        self._mute = mute
        self._pending = b""
        self._to_host = -1
        self._from_host: dict[int, int] = {}

    def run(self) -> int:
        """Runs the command to its end and returns its exit status, or minus the signal that ended it.

        Raises Silence when the network is gone for too long.
        """
        child = self._start()
        ended = os.pidfd_open(child)
        try:
            while (self._from_host or ended >= 0) and not self.cut:
                self._wait_for_link()
                if self._step(ended):
                    os.close(ended)
                    ended = -1
        finally:
            self._close_session()
            if ended >= 0:
                os.close(ended)
        if self.cut:
            return 0
        _, status = os.waitpid(child, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    def _close_session(self) -> None:
        """What sshd does when the connection ends: the command is not told otherwise."""
        if self._to_host >= 0:
            self._close_input()
        for descriptor in self._from_host:
            os.close(descriptor)
        self._from_host.clear()

    def _wait_for_link(self) -> None:
        """Looks at most every ``LINK_SECONDS``, and lets nothing pass while the link is down."""
        begin = time.monotonic()
        if begin - self._looked_at_link < LINK_SECONDS:
            return
        while self._link_is_down():
            silent = time.monotonic() - begin
            if silent >= self._server_patience:
                self._close_session()
            if self._patience is not None and silent >= self._patience:
                raise Silence
            time.sleep(LINK_SECONDS)
        self._looked_at_link = time.monotonic()

    def _start(self) -> int:
        host_in, self._to_host = os.pipe()
        out, host_out = os.pipe()
        err, host_err = os.pipe()
        child = os.posix_spawn(
            self._command[0],
            self._command,
            self._environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate((host_in, host_out, host_err))
            ],
            setsid=True,
            # Python ignores it, and a program that inherits this would not notice a pipe that nobody reads.
            setsigdef=[SIGPIPE],
        )
        for descriptor in (host_in, host_out, host_err):
            os.close(descriptor)
        os.set_blocking(self._to_host, False)
        self._from_host = {out: 1, err: 2}
        return child

    def _step(self, ended: int) -> bool:
        """Moves what is there to be moved. Whether the command has ended."""
        poll = select.poll()
        if ended >= 0:
            poll.register(ended, select.POLLIN)
        for descriptor in self._from_host:
            poll.register(descriptor, select.POLLIN)
        if self._to_host >= 0:
            # Without events asked for, poll still tells when the reading end is gone.
            poll.register(self._to_host, select.POLLOUT if self._pending or not self._input_open else 0)
            if self._input_open and not self._pending:
                poll.register(0, select.POLLIN)
        for descriptor, events in poll.poll(LINK_SECONDS * 1000):
            if descriptor == ended:
                # What it wrote last may still be in the pipes, which end by themselves.
                return True
            if descriptor in self._from_host:
                self._forward_output(descriptor)
            elif descriptor == self._to_host:
                self._feed(gone=bool(events & select.POLLERR))
            elif descriptor == 0:
                self._take_input(events)
        return False

    def _take_input(self, events: int) -> None:
        room = CHUNK if self._cut_at is None else min(CHUNK, self._cut_at - self.sent)
        try:
            self._pending = b"" if events & select.POLLNVAL else os.read(0, room)
        except OSError:
            self._pending = b""
        if not self._pending:
            self._input_open = False

    def _feed(self, *, gone: bool) -> None:
        try:
            count = 0 if gone else os.write(self._to_host, self._pending)
        except BlockingIOError:
            return
        except BrokenPipeError:
            gone = True
        if gone:
            self._close_input()
            return
        self._pending = self._pending[count:]
        self.sent += count
        self.cut = self._cut_at is not None and self.sent >= self._cut_at
        if not self._pending and not self._input_open:
            self._close_input()

    def _close_input(self) -> None:
        os.close(self._to_host)
        self._to_host = -1

    def _forward_output(self, descriptor: int) -> None:
        data = os.read(descriptor, CHUNK)
        target = self._from_host[descriptor]
        try:
            view = memoryview(b"" if self._mute else data)
            while view:
                view = view[os.write(target, view) :]
        except BrokenPipeError:
            data = b""
        if target == 1:
            self.received += len(data)
        if not data:
            os.close(descriptor)
            del self._from_host[descriptor]
