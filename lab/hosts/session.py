# SPDX-License-Identifier: Apache-2.0
"""How a process is started on a host."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Session:
    """Words that lead into the host, to be put before a command, and the environment of its processes."""

    enter: Sequence[str]
    environment: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Leave the session to the lab's ssh: a word a line, an empty line, a variable a line."""
        lines = [*self.enter, "", *(f"{name}={value}" for name, value in self.environment.items())]
        path.write_text("\n".join(lines) + "\n")

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Ctrl-C at the lab's terminal does not reach the process: a host is another machine."""
        return subprocess.Popen(
            [*self.enter, *command], env=dict(self.environment), start_new_session=True, **options
        )


def environment(host: str, root: Path, home: Path, path: str) -> dict[str, str]:
    """What a process finds in its environment after a login through ssh, and how the lab recognizes it."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LOGNAME": "oneadmin",
        "PATH": path,
        "SHELL": "/bin/bash",
        "USER": "oneadmin",
        "LAB_HOST": host,
        "LAB_ROOT": str(root),
    }
