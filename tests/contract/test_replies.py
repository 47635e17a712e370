# SPDX-License-Identifier: Apache-2.0
"""Every failure that LINSTOR or python-linstor knows becomes an error of ours, chosen on purpose."""

from __future__ import annotations

import inspect
from typing import Any

import linstor
import linstor.errors
import pytest
from linstor import consts

from linstor_helper import errors
from linstor_helper.linstor_api import replies
from linstor_helper.linstor_api.addresses import Address
from linstor_helper.linstor_api.connection import Patience
from linstor_helper.linstor_api.credentials import Credentials
from linstor_helper.linstor_api.session import Session
from linstor_helper.linstor_api.transport import Transport

FAILURES = {name: value for name, value in vars(consts).items() if name.startswith("FAIL_")}


def wire(number: int) -> int:
    """As JSON carries it: signed."""
    return number - (1 << 64) if number >= 1 << 63 else number


def entry(number: int, message: str = "It failed", **more: Any) -> replies.Entry:
    return replies.decode({"ret_code": wire(number), "message": message, **more})


def failed(*entries: replies.Entry, **options: Any) -> errors.Error:
    found = replies.failure(entries, **options)
    assert found is not None
    return found


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_every_failure_is_mapped(name: str) -> None:
    found = entry(FAILURES[name] | consts.MASK_CRT | consts.MASK_RSC_DFN)
    assert found.kind == replies.ERROR
    assert found.code == FAILURES[name] & consts.MASK_BITS_CODE
    assert type(failed(found)) is replies.BY_CODE[found.code]


@pytest.mark.parametrize("name", ["UNKNOWN_API_CALL", "API_CALL_AUTH_REQ", "API_CALL_PARSE_ERROR"])
def test_special_codes_are_mapped(name: str) -> None:
    assert entry(getattr(consts, name)).code in replies.BY_CODE


def test_every_exception_of_the_library_is_mapped() -> None:
    known = {
        one for _, one in inspect.getmembers(linstor.errors, inspect.isclass) if issubclass(one, Exception)
    }
    assert known == set(replies.BY_EXCEPTION)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (linstor.LinstorArgumentError("no unit"), errors.UsageError),
        (linstor.LinstorNetworkError("gone"), errors.ControllerUnavailable),
        (linstor.LinstorTimeoutError("late"), errors.UnknownOutcome),
        (linstor.LinstorError("strange"), errors.ControllerError),
    ],
)
def test_exceptions_of_the_library(error: Any, kind: type[errors.Error]) -> None:
    made = replies.of_library(error)
    assert type(made) is kind
    assert error.message in str(made)


def test_no_exception_of_the_library_leaks() -> None:
    address = Address("127.0.0.1", 9, False)
    session = Session(Transport([address], Credentials(), Patience(1.0, 1.0), []), [])
    with pytest.raises(errors.UsageError, match="weight"):
        session._json(session._client.parse_volume_size_to_kib, "12 weight")


def test_an_unknown_code_is_the_controllers_error() -> None:
    assert type(failed(entry(consts.MASK_ERROR | 29999))) is errors.ControllerError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (206, errors.RefusedError),
        (227, errors.RefusedError),
        (300, errors.NotFoundError),
        (301, errors.NotFoundError),
        (310, errors.NotFoundError),
        (317, errors.NotFoundError),
        (412, errors.ConfigError),
        (501, errors.ConflictError),
        (514, errors.ConflictError),
        (974, errors.NotReadyError),
        (979, errors.NotReadyError),
        (980, errors.NoSpaceError),
        (982, errors.NotReadyError),
        (992, errors.NotReadyError),
        (994, errors.CannotSnapshot),
        (977, errors.ConflictError),
        (995, errors.NotReadyError),
        (996, errors.NoSpaceError),
        (997, errors.InUseError),
        (998, errors.ControllerError),
        (999, errors.ControllerError),
        (10000, errors.ConfigError),
    ],
)
def test_classes(code: int, kind: type[errors.Error]) -> None:
    assert type(failed(entry(consts.MASK_ERROR | code))) is kind


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (-4611686018406940171, 3, 501),
        (-4611686018427387603, 3, 301),
        (-9223372036800771144, 2, 3000),
        (-4611686018373385243, 3, 997),
        (-9223372036818074625, 2, 1023),
        (-9223372036854774806, 2, 1002),
        (20447233, 0, 1),
    ],
)
def test_numbers_as_they_come(number: int, kind: int, code: int) -> None:
    """Numbers of the guide, 1.4."""
    found = replies.decode({"ret_code": number, "message": "x"})
    assert (found.kind, found.code) == (kind, code)


@pytest.mark.parametrize("mask", [consts.MASK_WARN, consts.MASK_INFO, consts.MASK_SUCCESS])
def test_the_same_code_of_another_kind_is_no_failure(mask: int) -> None:
    """10000 is the info that nothing was spawned, and the error of a failed sign-in."""
    assert replies.failure([entry(mask | 10000)]) is None


def test_the_first_error_leads_and_nothing_is_lost() -> None:
    error = failed(
        entry(consts.CREATED),
        entry(
            consts.FAIL_IN_USE,
            "The disk is\nin use.",
            cause="A program has it open.",
            details="Node: bob",
            correction="End it.",
            error_report_ids=["ErrorReport-1"],
        ),
        entry(consts.FAIL_NOT_FOUND_NODE, "(carol) No such node", error_report_ids=["ErrorReport-2"]),
    )
    assert type(error) is errors.InUseError
    assert error.what == "The disk is in use."
    assert error.details == "A program has it open. Node: bob. (carol) No such node"
    assert error.hint == "End it."
    assert error.reports == ("ErrorReport-1", "ErrorReport-2")


def test_objects_are_named_where_the_controller_does_not() -> None:
    in_use = entry(consts.FAIL_IN_USE, "Resource VM-1 is in use.", obj_refs={"RscDfn": "vm-1", "Node": "bob"})
    assert failed(in_use, about={"resource": "vm-1"}).what == "Resource VM-1 is in use (node bob)"
    named = entry(consts.FAIL_IN_USE, "Resource vm-1 on bob is in use")
    assert failed(named, about={"resource": "vm-1", "node": "bob"}).what == "Resource vm-1 on bob is in use"


def test_without_a_message_the_code_is_told() -> None:
    assert failed(replies.decode({"ret_code": wire(consts.FAIL_IN_USE)})).what == "LINSTOR error 997"


def test_warnings_of_what_was_wanted_anyway_are_not_told() -> None:
    deferred = entry(consts.WARN_NOT_CONNECTED, "No connection to bob", details="Done later.")
    expected = [consts.WARN_NOT_FOUND, consts.WARN_RSC_ALREADY_DEPLOYED, consts.WARN_VLMDFN_RESIZE_SAME_SIZE]
    assert replies.warnings([deferred, *map(entry, expected), entry(consts.CREATED)]) == [
        "No connection to bob Done later"
    ]


def test_hint_for_a_locked_passphrase_and_a_bad_token() -> None:
    assert "enter-passphrase" in failed(entry(consts.FAIL_CRYPT_INIT)).hint
    assert "LINSTOR_TOKEN_FILE" in failed(entry(consts.FAIL_ACC_DENIED_COMMAND)).hint
