# SPDX-License-Identifier: Apache-2.0
"""Disks that are written, snapshotted, reverted, saved, resized, plugged and flattened in any order, on every kind of
storage: content, sizes and snapshots are always those that a trivial model says, and nothing else is left."""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.e2e.snapshot_play import OPERATIONS, Operation, Play

KINDS = [("LVM_THIN", "1.28.0"), ("ZFS", "1.28.0"), ("FILE_THIN", "1.28.0"), ("LVM", "1.28.0")]
MORE_KINDS = [("ZFS_THIN", "1.29.1"), ("FILE", "1.29.1"), ("LVM", "1.29.1")]

TAKERS: dict[Operation, int] = {Play.drop: 1, Play.drop_of_image: 1, Play.flatten: 2}
"""What takes snapshots away waits for what needs them."""

STEPS, FEW_STEPS, MORE_STEPS = 20, 6, 40
EXAMPLES = int(os.environ.get("SNAPSHOT_MODEL_EXAMPLES", "0"))
"""SNAPSHOT_MODEL_EXAMPLES asks for that many of each kind of storage, of MORE_STEPS, which take ten seconds each; else
there are two of FEW_STEPS, always the same."""


@pytest.mark.parametrize(("provider", "rest_version"), KINDS)
def test_one_order(provider: str, rest_version: str) -> None:
    """Always the same one, with every operation in it: those that were rare so far come first."""
    chance, done = Random(f"{provider} 1"), Counter[Operation]()
    play = Play(provider, rest_version, chance)
    try:
        for _ in range(STEPS):
            possible = play.possible()
            rank = {one: (done[one], TAKERS.get(one, 0)) for one in possible}
            operation = chance.choice([one for one in possible if rank[one] == min(rank.values())])
            done[operation] += 1
            play.step(operation, chance)
        play.end()
        assert set(done) == set(OPERATIONS)
    finally:
        print("\n".join(play.story))
        play.close()


class Machine(RuleBasedStateMachine):
    """The same by any chance."""

    def __init__(self, provider: str, rest_version: str) -> None:
        super().__init__()
        self._kind = (provider, rest_version)
        self._play: Play | None = None
        self._sound = False

    @initialize(chance=st.randoms(use_true_random=False))
    def begin(self, chance: Random) -> None:
        self._play = Play(*self._kind, chance)

    @rule(chance=st.randoms(use_true_random=False))
    def step(self, chance: Random) -> None:
        assert self._play is not None
        self._sound, told = False, len(self._play.story)
        try:
            self._play.step(chance.choice(self._play.possible()), chance)
            self._sound = True
        finally:
            for line in self._play.story[told:]:
                note(line)

    def teardown(self) -> None:
        if self._play is not None:
            try:
                if self._sound:
                    self._play.end()
            finally:
                self._play.close()


@pytest.mark.parametrize(("provider", "rest_version"), KINDS + MORE_KINDS if EXAMPLES else KINDS[:3])
def test_any_order(provider: str, rest_version: str) -> None:
    run_state_machine_as_test(
        lambda: Machine(provider, rest_version),
        settings=settings(
            max_examples=EXAMPLES or 2,
            stateful_step_count=MORE_STEPS if EXAMPLES else FEW_STEPS,
            derandomize=not EXAMPLES,
            phases=[Phase.generate, Phase.shrink],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
