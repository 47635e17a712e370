# SPDX-License-Identifier: Apache-2.0
"""Driver calls captured from a real oned, and replaying them in the lab.

The files are described in ``tests/data/captures/README.md``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.one.calls import Call
from lab.one.runner import Oned
from lab.one.scripts import VMM_ENVIRONMENT, tm_action

CAPTURED_LOCATION = "/srv/one"
CAPTURED_FRONT_END = "vm"


@dataclass(frozen=True)
class CapturedCall:
    """One captured call; `stdin` is decoded, `documents` maps vm and datastore to what oned answered then."""

    seq: int
    scenario: str
    driver: str
    driver_name: str
    action: str
    argv: tuple[str, ...]
    stdin: str = ""
    stdin_encoding: str = "none"
    env: tuple[str, ...] = ()
    cwd: str = ""
    rc: int = 0
    stdout: str = ""
    stderr: str = ""
    documents: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """As `Call.name`: kind, driver and action."""
        return f"{self.driver}/{self.driver_name}/{self.action}"


def load(directory: Path, version: str = "7.4.0") -> list[CapturedCall]:
    """All captured calls of one release of OpenNebula, in order."""
    known: dict[str, str] = {}
    for line in (directory / f"api-{version}.jsonl").read_text().splitlines():
        row = json.loads(line)
        known[row["key"]] = row["xml"]
    calls = []
    for line in (directory / f"calls-{version}.jsonl").read_text().splitlines():
        row = json.loads(line)
        calls.append(
            CapturedCall(
                row["seq"],
                row["scenario"],
                row["driver"],
                row["driver_name"],
                row["action"],
                tuple(row["argv"]),
                row.get("stdin_decoded") or "",
                row.get("stdin_encoding", "none"),
                tuple(row.get("env", ())),
                row.get("cwd", ""),
                row["rc"],
                row.get("stdout", ""),
                row["stderr"],
                {kind: known[key] for kind, key in row.get("api", {}).items()},
            )
        )
    return calls


class Replayer:
    """Sends captured calls to the drivers of `one`.

    `hosts` maps captured host names to those of the lab, `paths` captured path prefixes (the installation's
    own is known), `attributes` names template attributes whose captured value gives way to another one.
    """

    def __init__(
        self,
        one: Oned,
        hosts: Mapping[str, str],
        paths: Mapping[str, str],
        attributes: Mapping[str, str],
    ) -> None:
        self._one = one
        self._paths = {CAPTURED_LOCATION: str(one.tree.location), **paths}
        self._hosts = {**hosts, CAPTURED_FRONT_END: one.front_end}
        self._attributes = attributes

    def replay(self, call: CapturedCall) -> Call:
        """Run the call; while it runs, XML-RPC answers with the documents of that moment."""
        answers = self._one.xmlrpc.answers
        for kind, document in call.documents.items():
            xml = self.translate_xml(document)
            found = re.search(r"<ID>(\d+)</ID>", xml)
            assert found is not None
            answers[kind, int(found.group(1))] = xml
        try:
            remotes = self._one.tree.remotes
            if call.driver == "tm":
                path = tm_action(remotes, call.driver_name, call.action)
            else:
                path = remotes / call.driver / call.driver_name / call.action
            argv = [self.translate_argument(one) for one in call.argv]
            extra = VMM_ENVIRONMENT if "LIVE_DISK_SNAPSHOTS" in call.env else {}
            return self._one.executor.run(path, argv, self._stdin(call), extra)
        finally:
            answers.clear()

    def translate_argument(self, text: str) -> str:
        """One argument: ``host:path`` with the lab's names."""
        host, colon, rest = text.partition(":")
        if colon and host in self._hosts:
            text = f"{self._hosts[host]}:{rest}"
        return self._translate_paths(self._hosts.get(text, text))

    def translate_xml(self, xml: str) -> str:
        """A document with the lab's paths, hosts and attributes."""
        for name, value in self._attributes.items():
            xml = re.sub(rf"(<{name}>).*?(</{name}>)", rf"\g<1><![CDATA[{value}]]>\g<2>", xml)
        for old, new in self._hosts.items():
            xml = re.sub(rf"(<(?:HOSTNAME|HOST)>){old}(</)", rf"\g<1>{new}\g<2>", xml)
        return self._translate_paths(xml)

    def _translate_paths(self, text: str) -> str:
        for old, new in self._paths.items():
            text = re.sub(rf"(?<![\w/]){re.escape(old)}(?=/|\b)", new, text)
        return text

    def _stdin(self, call: CapturedCall) -> str:
        xml = self.translate_xml(call.stdin)
        return base64.b64encode(xml.encode()).decode() if call.stdin_encoding == "base64" else xml
