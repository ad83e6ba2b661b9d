"""The pulse of a role, by a clock of its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from ingestd.pulse import Pulse


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_advances_is_never_late() -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    beat = pulse.loop("ftp", allowance=2.0)
    for _ in range(10):
        clock.now += 1.9
        assert pulse.overdue() == {}
        beat()


def test_only_the_loop_that_hangs_is_late_and_by_what_its_turn_may_not_take() -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    beat = pulse.loop("ftp", allowance=2.0)
    pulse.loop("folder", allowance=2.0)
    clock.now += 9
    beat()
    assert pulse.overdue() == {"folder": 7.0}


def test_a_stage_of_a_huge_file_may_take_minutes() -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    pulse.loop("road", allowance=600.0)
    clock.now += 599
    assert pulse.overdue() == {}
    clock.now += 31
    assert pulse.overdue() == {"road": 30.0}


def test_the_supervisor_hears_it_on_a_pipe() -> None:
    heard, said = os.pipe()
    clock = Clock()
    pulse = Pulse(clock=clock)
    pulse.loop("ftp", allowance=2.0)
    clock.now += 5
    pulse.start(said)
    with os.fdopen(heard, "rb") as lines:
        assert json.loads(lines.readline()) == {"overdue": {"ftp": 3.0}}
