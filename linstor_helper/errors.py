# SPDX-License-Identifier: Apache-2.0
"""Every way in which the driver fails, by what the administrator can do about it.

    Error
    |-- UsageError              the call itself is wrong: arguments or XML that OpenNebula never sends
    |-- ConfigError             an attribute of a datastore or the driver's configuration is missing or wrong
    |-- RefusedError            the request is understood and must not be done (restricted path, bad image)
    |-- CannotClone             the storage provider has no clones: copy instead
    |-- CannotSnapshot          the storage provider has no snapshots: copy instead
    |-- NotFoundError           a named object does not exist
    |-- ConflictError           an object exists and is not what was asked for
    |-- InUseError              something holds the device open
    |-- NoSpaceError            LINSTOR cannot place or grow the volume
    |-- NotReadyError           the object is busy or not up to date; later it may work
    |-- ControllerError         the controller refused for another reason
    |   `-- NotReverted         a volume has neither what it had before nor what it was to have: its guard has it
    |-- ControllerUnavailable   no controller answered
    |   `-- UnknownOutcome      the controller went silent after it had the request
    |-- HostUnreachable         ssh did not get through
    |-- CommandFailed           a command on a host or on the front-end exited non-zero
    |-- DeadlineExceeded        a wait ended without result
    `-- Interrupted             OpenNebula (or somebody) ended the action

The text of an error is one line. The cause comes first, because OpenNebula shows only the first 100 characters
of it at the VM, then the names, then what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class Error(Exception):
    """Base of all errors that the driver raises on purpose.

    ``what`` says what went wrong and on what; ``hint`` what to do about it; ``details`` are the words of others
    (the controller's cause, a command's stderr); ``reports`` the ids of LINSTOR error reports.
    """

    def __init__(self, what: str, *, hint: str = "", details: str = "", reports: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.details = details
        self.reports = tuple(reports)

    def hiding(self, secret: str, shown: str) -> Error:
        """This error with ``shown`` in the place of ``secret``, wherever others repeated it."""
        self.what = self.what.replace(secret, shown)
        self.details = self.details.replace(secret, shown)
        self.args = (self.what,)
        return self

    def __str__(self) -> str:
        parts = [self.what]
        if self.details and self.details not in self.what:
            parts.append(self.details)
        if self.reports:
            parts.append("LINSTOR error report " + "; ".join(self.reports))
        if self.hint:
            parts.append(self.hint)
        return one_line("; ".join(part.strip().rstrip(".") for part in parts))


def one_line(text: str) -> str:
    """``text`` with every run of white space folded to one blank: what OpenNebula can carry."""
    return " ".join(text.split())


class UsageError(Error):
    """The arguments or the XML of the call are not what OpenNebula sends."""


class ConfigError(Error):
    """An attribute is missing, unknown or has a bad value."""


class RefusedError(Error):
    """The request must not be carried out."""


class CannotClone(Error):
    """The storage provider of a volume has no clones (LINSTOR code 227)."""


class CannotSnapshot(Error):
    """The storage provider of a volume has no snapshots (LINSTOR code 994)."""


class NotFoundError(Error):
    """A named object does not exist."""


class ConflictError(Error):
    """The object is there, but it is not the one that was asked for."""


class InUseError(Error):
    """A device is open."""


class NoSpaceError(Error):
    """LINSTOR found no place for a volume or for its growth."""


class NotReadyError(Error):
    """LINSTOR cannot do it in the object's present state."""


class ControllerError(Error):
    """The controller refused for a reason that has no class of its own."""


class NotReverted(ControllerError):
    """A volume may have neither the content that it had nor that of its snapshot; its guard has the former."""


class ControllerUnavailable(Error):
    """No controller of the list answered; nothing was changed."""


class UnknownOutcome(ControllerUnavailable):
    """The connection broke or timed out after the request was sent: it may have taken effect or not."""


class HostUnreachable(Error):
    """ssh could not open a session."""


class CommandFailed(Error):
    """A command exited non-zero.  ``status`` is its exit code."""

    def __init__(self, what: str, *, status: int, hint: str = "", details: str = "") -> None:
        super().__init__(what, hint=hint, details=details)
        self.status = status


class DeadlineExceeded(Error):
    """A bounded wait ended before what was waited for came true."""


class Interrupted(Error):
    """The process was told to end (SIGTERM, SIGINT, SIGHUP)."""
