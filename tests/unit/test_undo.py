# SPDX-License-Identifier: Apache-2.0
"""Undoing: in reverse, to the end, and never in place of the error that made it necessary."""

from __future__ import annotations

import pytest

from linstor_helper.errors import ControllerError, Interrupted, RefusedError
from linstor_helper.undo import Undo


class Steps:
    """Steps that write down that they ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reported: list[str] = []
        self.undo = Undo(self.reported.append)

    def push(self, name: str, failure: BaseException | None = None) -> None:
        def step() -> None:
            self.ran.append(name)
            if failure is not None:
                raise failure

        self.undo.push(name, step)


@pytest.fixture
def steps() -> Steps:
    return Steps()


def test_success_undoes_nothing(steps: Steps) -> None:
    with steps.undo:
        steps.push("volume")
    assert (steps.ran, steps.reported) == ([], [])


@pytest.mark.parametrize(
    "error", [RefusedError("bad image"), Interrupted("SIGTERM"), KeyboardInterrupt(), OSError()]
)
def test_any_failure_undoes_everything_last_first(steps: Steps, error: BaseException) -> None:
    for name in ("volume", "attachment", "link"):
        steps.push(name)
    with pytest.raises(type(error)) as raised, steps.undo:
        raise error
    assert raised.value is error
    assert steps.ran == ["link", "attachment", "volume"]
    assert steps.reported == []


def test_a_step_that_fails_is_told_and_hides_nothing(steps: Steps) -> None:
    steps.push("volume")
    steps.push("attachment", ControllerError("node bob is offline"))
    with pytest.raises(RefusedError, match="bad image"), steps.undo:
        raise RefusedError("bad image")
    assert steps.ran == ["attachment", "volume"]
    assert steps.reported == ["left behind: attachment: node bob is offline"]


def test_steps_run_once(steps: Steps) -> None:
    steps.push("volume")
    with pytest.raises(RefusedError), steps.undo:
        raise RefusedError("first")
    with pytest.raises(RefusedError), steps.undo:
        raise RefusedError("second")
    assert steps.ran == ["volume"]
