# SPDX-License-Identifier: Apache-2.0
"""What changes with the version of OpenNebula, in one place."""

from __future__ import annotations

from typing import NamedTuple

ERROR_OPEN = "ERROR MESSAGE --8<------"
ERROR_CLOSE = "ERROR MESSAGE ------>8--"

# Elements and template attributes that older releases do not print.
_SINCE: dict[str, tuple[int, int, int]] = {
    "FORMAT": (6, 0, 0),
    "FS": (6, 0, 0),
    "PREV_STATE": (6, 0, 0),
    "BACKUP_INCREMENTS": (6, 6, 0),
    "BACKUPS": (6, 6, 0),
    "MODTIME": (7, 0, 0),
    "PLAN_ID": (7, 0, 0),
    "ACTION_ID": (7, 0, 0),
    "PERSISTENT_SNAPSHOTS": (7, 0, 0),
    "DS_LIVE_MIGRATE": (7, 2, 0),
    "DS_MIGRATE_SNAP": (7, 2, 0),
    "BACKUP_DISK_IDS": (7, 4, 0),
}


class OneVersion(NamedTuple):
    """Version of OpenNebula; compares like a tuple."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> OneVersion:
        """Read ``7.4.0`` or ``7.4``; raises ValueError for anything else."""
        numbers = [int(part) for part in text.strip().split(".")]
        if not 2 <= len(numbers) <= 3:
            raise ValueError(f"not an OpenNebula version: {text!r}")
        return cls(*[*numbers, 0][:3])

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def has(self, element: str) -> bool:
        """True when this release prints the XML element or attribute in images and datastores."""
        return self >= _SINCE.get(element, (0, 0, 0))

    @property
    def datastore_xml_on_stdin(self) -> bool:
        """6.8 and later hand the XML of datastore actions over on stdin, earlier ones in argv."""
        return self >= (6, 7, 80)

    @property
    def stat_shows_size(self) -> bool:
        """7.x puts an IMAGE/SIZE element next to IMAGE/PATH in the XML of ``stat``."""
        return self >= (7, 0, 0)

    @property
    def image_format_tag(self) -> str:
        """IMAGE/FORMAT was called IMAGE/FSTYPE up to 5.12."""
        return "FORMAT" if self >= (6, 0, 0) else "FSTYPE"

    @property
    def copy_prints_format(self) -> bool:
        """6.0 and later expect ``SOURCE FORMAT`` from ``cp``; 5.12 only SOURCE."""
        return self >= (6, 0, 0)

    @property
    def cuts_vm_errors(self) -> bool:
        """6.x and later keep 100 characters of a VM's error message; 5.12 keeps all."""
        return self >= (6, 0, 0)

    @property
    def failed_premigrate_is_undone(self) -> bool:
        """7.4 calls ``failmigrate`` after a failed ``premigrate``, earlier releases nothing."""
        return self >= (7, 4, 0)

    @property
    def migrates_datastore_live(self) -> bool:
        """7.2 and later know DS_LIVE_MIGRATE; before, a live change of the system datastore is refused."""
        return self >= (7, 2, 0)

    @property
    def asks_for_migration_of_snapshots(self) -> bool:
        """7.2 and later know DS_MIGRATE_SNAP: whether disks may have snapshots when the datastore changes."""
        return self >= (7, 2, 0)

    @property
    def revert_restores_size(self) -> bool:
        """6.8.3 and later give a disk or image the SIZE of the snapshot that it is reverted to."""
        return self >= (6, 8, 3)

    @property
    def saves_disks_of_vms_on_the_front_end(self) -> bool:
        """6.0 and later save disks of stopped and undeployed VMs."""
        return self >= (6, 0, 0)

    @property
    def keeps_documents_with_the_vm(self) -> bool:
        """6.0 and later put vm.xml and ds.xml into the VM's directory before it is deployed."""
        return self >= (6, 0, 0)

    @property
    def live_migration_takes_files_along(self) -> bool:
        """6.0 and later copy files and links of a directory that is not shared; 5.12 migrates the domain only."""
        return self >= (6, 0, 0)

    @property
    def driver_is_format(self) -> bool:
        """6.0 and later take the DRIVER of a datastore for the format of empty images; 5.12 asks the user."""
        return self >= (6, 0, 0)
