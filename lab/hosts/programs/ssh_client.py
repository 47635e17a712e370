# SPDX-License-Identifier: Apache-2.0
"""The lab's ssh: runs a command on a host of the lab, with the manners and the failures of a network between.

Loaded for every call, so that it imports only what is there or cheap; json, for one, doubles the time to
start.
"""

from __future__ import annotations

import os
import sys
import time

# Not from the module signal, which takes longer to load than this program to start a command.
from _signal import SIGHUP, SIGINT, SIGTERM
from _signal import signal as set_handler

from ssh_channel import Channel, Silence
from ssh_faults import NO_FAULT, take_fault
from ssh_options import Call, UsageError

FAILED = 255
# How long Linux tries to connect when nobody answers: 7 SYN packets (tcp_syn_retries 6).
CONNECT_SECONDS = 127.0
POLL_SECONDS = 0.01
ESCAPES = {**{code: f"\\u{code:04x}" for code in range(32)}, ord('"'): '\\"', ord("\\"): "\\\\"}


class Failed(Exception):
    """ssh itself fails: 255 and a text."""


class Killed(Exception):
    """Somebody wants ssh to end: it closes the connection and does not die by the signal."""


def main(root: str) -> int:
    for number in (SIGHUP, SIGINT, SIGTERM):
        set_handler(number, _end)
    started = time.monotonic()
    words = sys.argv[1:]
    try:
        call = Call(words)
        connect_timeout = call.seconds("connecttimeout") or CONNECT_SECONDS
        patience = _patience(call)
    except UsageError as error:
        _say(str(error))
        return FAILED
    channel = None
    fault = NO_FAULT
    try:
        _connect(root, call.host, connect_timeout)
        fault = take_fault(root, call.host, " ".join(call.command))
        if fault.before:
            _log(root, call.host, words, None, None, started, fault)
            fault.strike(call.host)
        channel = Channel(
            *_session(root, call),
            lambda: _is_down(root, call.host),
            no_input=call.no_input,
            patience=patience,
            server_patience=float(_host_file(root, call.host, "client-alive") or "inf"),
            cut_at=fault.at_byte,
            mute=fault.mute,
        )
        status = channel.run()
        if channel.cut or fault.after:
            _log(root, call.host, words, channel, None, started, fault)
            fault.strike(call.host)
        if status < 0:
            _lost(root, call.host, patience)
        code = status if 0 <= status < FAILED else FAILED
    except Silence:
        _say(_silence(call.host))
        code = FAILED
    except Killed:
        if fault is not NO_FAULT:
            return FAILED
        code = FAILED
    except Failed as error:
        if not call.quiet:
            _say(str(error))
        code = FAILED
    except ConnectionError as error:
        _say(str(error))
        return FAILED
    _log(root, call.host, words, channel, code, started, fault)
    return code


def _end(*_: object) -> None:
    raise Killed


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\r\n")
    sys.stderr.flush()


def _patience(call: Call) -> float | None:
    """Seconds until a connection on which nothing comes back is given up; None: never."""
    interval = call.seconds("serveraliveinterval")
    count = call.options.get("serveralivecountmax", "3")
    if interval is None:
        return None
    if not count.isdigit():
        raise UsageError("command-line line 0: integer value expected.")
    return interval * max(int(count), 1)


def _host_file(root: str, host: str, name: str) -> str:
    try:
        with open(os.path.join(root, "hosts", host, name), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _is_down(root: str, host: str) -> bool:
    return _host_file(root, host, "link").strip() == "down"


def _silence(host: str) -> str:
    return f"Timeout, server {host} not responding."


def _connect(root: str, host: str, timeout: float) -> None:
    """Wait for the host as TCP would. Raises Failed."""
    if not host or "/" in host or not os.path.isfile(os.path.join(root, "hosts", host, "session")):
        raise Failed(f"ssh: Could not resolve hostname {host}: Name or service not known")
    begin = time.monotonic()
    while True:
        link = _host_file(root, host, "link").strip()
        if link == "refused":
            raise Failed(f"ssh: connect to host {host} port 22: Connection refused")
        waited = time.monotonic() - begin
        if link != "down" and waited >= float(_host_file(root, host, "delay") or 0):
            return
        if waited >= timeout:
            raise Failed(f"ssh: connect to host {host} port 22: Connection timed out")
        time.sleep(POLL_SECONDS)


def _session(root: str, call: Call) -> tuple[list[str], dict[str, str]]:
    """Program and environment on the host: the login shell in the home directory, as sshd starts it."""
    lines = _host_file(root, call.host, "session").splitlines()
    split = lines.index("")
    environment = dict(line.split("=", 1) for line in lines[split + 1 :])
    shell = environment["SHELL"]
    enter = [*lines[:split], shell]
    if call.command:
        return [*enter, "-c", 'cd && exec "$SHELL" -c "$1"', "sshd", " ".join(call.command)], environment
    return [*enter, "-c", 'cd && exec "$SHELL"'], environment


def _lost(root: str, host: str, patience: float | None) -> None:
    """The command was killed. When the whole host was, nothing tells us so. Raises Failed."""
    begin = time.monotonic()
    while _is_down(root, host):
        if patience is not None and time.monotonic() - begin >= patience:
            raise Failed(_silence(host))
        time.sleep(POLL_SECONDS)


def _log(
    root: str,
    host: str,
    words: list[str],
    channel: Channel | None,
    code: int | None,
    started: float,
    fault: object,
) -> None:
    """Append the call to the record: a line of JSON, by one write, so that calls do not mix."""
    fields = {
        "host": _string(host),
        "argv": "[" + ", ".join(map(_string, words)) + "]",
        "stdin": str(channel.sent if channel else 0),
        "stdout": str(channel.received if channel else 0),
        "rc": "null" if code is None else str(code),
        "seconds": f"{time.monotonic() - started:.4f}",
        "fault": _string(str(fault)) if fault is not NO_FAULT else "null",
    }
    line = "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}\n"
    descriptor = os.open(os.path.join(root, "ssh.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode("utf-8", "replace"))
    os.close(descriptor)


def _string(text: str) -> str:
    return '"' + text.translate(ESCAPES) + '"'
