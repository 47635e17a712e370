# SPDX-License-Identifier: Apache-2.0
"""Moves bytes between the caller of ssh and the command on the host.

The command never holds the caller's own descriptors: when the ssh client is killed, its caller sees the end
of the output at once, while the command on the host learns of it only by EOF and EPIPE. So it is with a
real connection.
"""

from __future__ import annotations

import os
import select

CHUNK = 1 << 18
# Not from the module signal, which takes longer to load than this program to start a command.
SIGPIPE = 13


class Channel:
    """One command. ``sent`` and ``received``: bytes of standard input and output that passed.

    ``cut_at``: number of input bytes after which the connection breaks; ``cut`` tells that it did.
    ``mute``: the output gets lost on its way.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        no_input: bool,
        cut_at: int | None = None,
        mute: bool = False,
    ) -> None:
        self.sent = 0
        self.received = 0
        self.cut = False
        self._command = command
        self._environment = environment
        self._input_open = not no_input
        self._cut_at = cut_at
        self._mute = mute
        self._pending = b""
        self._to_host = -1
        self._from_host: dict[int, int] = {}

    def run(self) -> int:
        """Runs the command to its end and returns its exit status, or minus the signal that ended it."""
        child = self._start()
        try:
            while self._from_host and not self.cut:
                self._step()
        finally:
            for descriptor in (self._to_host, *self._from_host):
                if descriptor >= 0:
                    os.close(descriptor)
        if self.cut:
            return 0
        _, status = os.waitpid(child, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

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

    def _step(self) -> None:
        poll = select.poll()
        for descriptor in self._from_host:
            poll.register(descriptor, select.POLLIN)
        if self._to_host >= 0:
            # Without events asked for, poll still tells when the reading end is gone.
            poll.register(self._to_host, select.POLLOUT if self._pending or not self._input_open else 0)
            if self._input_open and not self._pending:
                poll.register(0, select.POLLIN)
        for descriptor, events in poll.poll():
            if descriptor in self._from_host:
                self._forward_output(descriptor)
            elif descriptor == self._to_host:
                self._feed(gone=bool(events & select.POLLERR))
            elif descriptor == 0:
                self._take_input(events)

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
