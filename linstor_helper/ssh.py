# SPDX-License-Identifier: Apache-2.0
"""Running commands: scripts on hosts by ``ssh HOST bash -s``, programs on the front-end.  The only user of subprocess.

A script travels on standard input, never in argv: nothing of it shows in a process list, and no second shell gets to
interpret it.  Data may follow the script on the same stream; bash reads a script from a pipe byte by byte, so a
command of the script finds its data exactly where the command ends.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from linstor_helper.errors import (
    CommandFailed,
    DeadlineExceeded,
    Error,
    HostUnreachable,
    UsageError,
    one_line,
)
from linstor_helper.ports import Conversation, Stream
from linstor_helper.shell import Script, command

_SSH_FAILED = 255
_END = "the script was read to its end"
_QUICK = 120.0
_SAID = 400
"""Characters of a program's complaints that are repeated in an error."""


class SshHosts:
    """``ports.Hosts`` by the ``ssh`` and the programs of the PATH (OpenNebula puts its own ssh first there).

    ``connect_timeout`` is in seconds.  A host that goes silent in the middle of a session is given up after about
    three times that.
    """

    def __init__(self, connect_timeout: int) -> None:
        self._options = [
            "-o", "BatchMode=yes",
            "-o", f"ConnectTimeout={connect_timeout}",
            "-o", f"ServerAliveInterval={connect_timeout}",
            "-o", "ServerAliveCountMax=3",
        ]  # fmt: skip

    def run(
        self,
        host: str,
        script: Script,
        what: str = "a command",
        *,
        feed: Iterable[bytes] = (),
        timeout: float | None = _QUICK,
    ) -> str:
        whole = script + command("true")
        # The last word proves that bash saw all of the input: a stream cut short ends a script without an error.
        parts = _chain(whole.render(), feed, command("echo", _END).lines[0].encode() + b"\n")
        output = self._finish(self._start(host), parts, f"{what} on host {host}", timeout, host)
        if not output.endswith(_END + "\n"):
            raise CommandFailed(f"{what} on host {host} ended early", status=0)
        return output[: -len(_END) - 1]

    @contextmanager
    def read(self, host: str, script: Script, what: str = "a command") -> Iterator[Stream]:
        process = self._start(host, output=subprocess.PIPE)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # its exit status says why
            process.stdin.write(script.render())
            process.stdin.close()
        with _stream(process, f"{what} on host {host}", host) as stream:
            yield stream

    @contextmanager
    def converse(self, host: str, script: Script) -> Iterator[Conversation]:
        process = self._start(host, output=subprocess.PIPE)
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(script.render())
                process.stdin.flush()
            yield _Talk(process)
        finally:
            process.discard()

    def local(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        return self._finish(_spawn(argv, environment), [stdin or b""], argv[0], None)

    @contextmanager
    def stream(
        self, argv: Sequence[str], what: str, *, environment: Mapping[str, str] | None = None
    ) -> Iterator[Stream]:
        process = _spawn(argv, environment, output=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.close()
        with _stream(process, what) as stream:
            yield stream

    def _start(self, host: str, output: int | None = None) -> _Process:
        if host.startswith("-") or not host:
            raise UsageError(f"{host!r} is not the name of a host")
        return _spawn(["ssh", *self._options, host, "bash", "-s"], None, output)

    def _finish(
        self,
        process: _Process,
        parts: Iterable[bytes],
        what: str,
        timeout: float | None,
        host: str | None = None,
    ) -> str:
        try:
            assert process.stdin is not None
            try:
                for part in parts:
                    process.stdin.write(part)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended before it read everything; its exit status says why
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise DeadlineExceeded(f"{what} did not end within {timeout:g} s") from None
            process.check(what, host)
            return process.output()
        finally:
            process.discard()


class _Process(subprocess.Popen[bytes]):
    """A child whose output goes to memory files, so that nothing blocks while we feed it."""

    captured: int
    complaints: int

    def output(self) -> str:
        return _contents(self.captured).decode(errors="replace")

    def check(self, what: str, host: str | None) -> None:
        """Raises the error that its exit status and stderr mean."""
        if self.returncode == 0:
            return
        said = _without_log_lines(_contents(self.complaints).decode(errors="replace"))
        if host is not None and self.returncode == _SSH_FAILED:
            raise HostUnreachable(
                f"host {host} cannot be reached by ssh", details=said, hint=f"check `ssh {host}` as oneadmin"
            )
        raise CommandFailed(
            f"{what} failed (exit status {self.returncode})", status=self.returncode, details=said
        )

    def discard(self) -> None:
        """Ends the child if it still runs, and forgets its output."""
        if self.poll() is None:
            self.send_signal(signal.SIGTERM)
            try:
                self.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
                self.wait()
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        os.close(self.captured)
        os.close(self.complaints)


def _spawn(argv: Sequence[str], environment: Mapping[str, str] | None, output: int | None = None) -> _Process:
    captured, complaints = os.memfd_create("stdout"), os.memfd_create("stderr")
    try:
        process = _Process(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=captured if output is None else output,
            stderr=complaints,
            env=None if environment is None else {**os.environ, **environment},
        )
    except OSError as error:
        os.close(captured)
        os.close(complaints)
        raise CommandFailed(f"{argv[0]} cannot be run: {error.strerror}", status=127) from error
    process.captured, process.complaints = captured, complaints
    return process


@contextmanager
def _stream(process: _Process, what: str, host: str | None = None) -> Iterator[Stream]:
    try:
        assert process.stdout is not None
        stream = _EndSeen(process.stdout)
        yield stream
        if stream.ended:
            process.wait()
            process.check(what, host)
    except Error as error:
        # When the source failed too, that is the cause, and our own complaint about its output a consequence.
        if process.poll() not in (None, 0) and not isinstance(error, (HostUnreachable, CommandFailed)):
            process.check(what, host)
        raise
    finally:
        process.discard()


class _Talk:
    """``ports.Conversation`` with a child."""

    def __init__(self, process: _Process) -> None:
        self._process = process
        self._heard = b""

    def hear(self, timeout: float) -> str:
        assert self._process.stdout is not None
        descriptor, end = self._process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self._heard:
            left = end - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise DeadlineExceeded(f"no answer within {timeout:g} s")
            piece = os.read(descriptor, 4 * 1024)
            if not piece:
                return ""
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace")

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.close()


class _EndSeen:
    """A binary stream that remembers whether it was read to its end."""

    def __init__(self, stream: object) -> None:
        self._read = stream.read  # type: ignore[attr-defined]
        self.ended = False

    def read(self, count: int) -> bytes:
        data: bytes = self._read(count)
        self.ended = self.ended or len(data) < count
        return data


def _contents(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _without_log_lines(text: str) -> str:
    """What a program or an OpenNebula script said for people: without its own log lines and error markers."""
    noise = ("INFO: ", "DEBUG: ", "ERROR MESSAGE --", "Warning: Permanently added")
    lines = (
        line[7:] if line.startswith("ERROR: ") else line
        for line in text.splitlines()
        if not line.startswith(noise)
    )
    said = one_line(" ".join(lines))
    # A usage text or a long list follows the cause; the end says how it came out.
    return said if len(said) <= _SAID else f"{said[: _SAID - 100]} ... {said[-90:]}"


def _chain(first: bytes, middle: Iterable[bytes], last: bytes) -> Iterator[bytes]:
    yield first
    yield from middle
    yield last
