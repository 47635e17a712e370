# SPDX-License-Identifier: Apache-2.0
"""premigrate and postmigrate, and how they call the same action of the other transfer managers of a VM."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from shlex import quote
from typing import NamedTuple

from places import fail, on_host, release, vm_texts


class Migration(NamedTuple):
    """Arguments and standard input: the VM as base64 of XML."""

    source: str
    destination: str
    directory: str
    vm_id: str
    datastore_id: str
    document: str

    @classmethod
    def read(cls) -> Migration:
        return cls(*sys.argv[1:6], sys.stdin.read())

    def managers(self) -> list[str]:
        """TM_MAD of each disk, in their order."""
        vm = ElementTree.fromstring(base64.b64decode(self.document))
        return [one.text or "" for one in vm.findall("TEMPLATE/DISK/TM_MAD")]

    def directory_before(self) -> tuple[str, str]:
        """Id of the datastore of the last record but one, and the VM's directory there."""
        datastores = vm_texts(self.vm_id, "HISTORY_RECORDS/HISTORY/DS_ID")
        datastore = datastores[-2] if len(datastores) > 1 else ""
        location = os.path.join(os.environ["ONE_LOCATION"], "var", "datastores")
        return datastore, f"{location}/{datastore}/{self.vm_id}"


def call_all(migration: Migration) -> None:
    """Of tm_common.sh (migrate_other): each manager of the VM's disks once; what becomes of them is ignored."""
    # A sixth argument says that another manager is the caller.
    if len(sys.argv) > 6 and sys.argv[6]:
        return
    for manager in dict.fromkeys(migration.managers()):
        if manager != _own_name():
            _call(manager, migration.document)


def call_first(migration: Migration) -> None:
    """Of tm_action.rb: only the manager of the first disk. Fails when there is no disk."""
    managers = migration.managers()
    if not managers:
        fail(1, "undefined method `text' for nil")
    if managers[0] != _own_name():
        _call(managers[0], migration.document)


def premigrate(call_others: Callable[[Migration], None], *, clear_destination: bool) -> None:
    migration = Migration.read()
    if migration.source == migration.destination:
        return
    if clear_destination and release() >= (6,):
        on_host(migration.destination, f"rm -rf {quote(migration.directory)}", "cannot clear the destination")
    call_others(migration)


def postmigrate(call_others: Callable[[Migration], None]) -> None:
    """Of datastores that each host has for itself: the others are called, then the source is removed (not
    before 6.0)."""
    migration = Migration.read()
    datastore, directory = migration.directory_before()
    if migration.source == migration.destination and datastore == migration.datastore_id:
        return
    call_others(migration)
    if release() >= (6,):
        on_host(migration.source, f"rm -rf {quote(directory)}", "cannot remove the source")


def postmigrate_shared() -> None:
    """Of datastores that all hosts share: the source is removed only when it is another datastore."""
    migration = Migration.read()
    datastore, directory = migration.directory_before()
    if datastore != migration.datastore_id:
        on_host(migration.source, f"rm -rf {quote(directory)}", "cannot remove the source")
    elif migration.source == migration.destination:
        return
    call_all(migration)


def _own_name() -> str:
    return os.path.basename(os.path.dirname(sys.argv[0]))


def _call(manager: str, document: str) -> None:
    directory, action = os.path.split(sys.argv[0])
    program = f"{directory}/../{manager}/{action}"
    try:
        subprocess.run([program, *sys.argv[1:], _own_name()], input=f"{document.strip()}\n".encode())
    except OSError as error:
        print(f"{program}: {error.strerror}", file=sys.stderr)
