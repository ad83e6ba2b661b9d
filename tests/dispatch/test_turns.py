"""A worker's turns: what was handled is told once the database is there to hear it, and nothing is taken before."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from ingestd.dispatch.dispatcher import Handled, Job
from ingestd.dispatch.turns import Every, take_turns
from ingestd.errors import Unavailable

JOB = Job(source="s", delivery_id=1)
AWAY = Unavailable("the database is away")


class Turns:
    """A dispatcher that answers what the test says."""

    def __init__(self, *answers: Job | Unavailable | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Handled | None, bool]] = []

    def __call__(self, handled: Handled | None, *, more: bool) -> Job | None:
        self.asked.append((handled, more))
        answer = self.answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer


class Stop:
    """Is set after so many waits."""

    def __init__(self, waits: int) -> None:
        self.waits = waits

    def is_set(self) -> bool:
        return self.waits <= 0

    def wait(self) -> None:
        self.waits -= 1

    def ring(self) -> None:
        return


def test_what_was_handled_is_told_when_the_database_is_back() -> None:
    turns = Turns(JOB, AWAY, AWAY, None, None)
    with capture_logs() as logs:
        take_turns(turns, lambda _: None, Stop(4), idle=lambda: None)
    handled = (Handled(job=JOB), True)
    assert turns.asked == [(None, True), handled, handled, handled, (None, True)]
    assert [line["event"] for line in logs] == ["dispatch_store_away"]  # told once


def test_a_stop_does_not_wait_for_a_database_that_is_away() -> None:
    turns, stop = Turns(JOB, AWAY), Stop(1)

    def handle(_: int) -> None:
        stop.waits = 0

    take_turns(turns, handle, stop, idle=lambda: None)
    assert turns.asked == [(None, True), (Handled(job=JOB), False)]


def test_a_delivery_in_hand_at_the_stop_is_told_and_none_is_taken_after_it() -> None:
    turns, stop = Turns(JOB, None), Stop(1)

    def handle(_: int) -> None:
        stop.waits = 0
        raise AWAY

    take_turns(turns, handle, stop, idle=lambda: None)
    assert turns.asked == [(None, True), (Handled(job=JOB, postponed="the database is away"), False)]


def test_a_bug_in_the_handler_ends_the_worker() -> None:
    def handle(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_turns(Turns(JOB), handle, Stop(1), idle=lambda: None)


def test_an_action_is_done_at_first_and_then_after_its_pause() -> None:
    times, done = iter([0.0, 59.0, 60.0, 61.0]), []
    each = Every(seconds=60, action=lambda: done.append(1), clock=lambda: next(times))
    for _ in range(4):
        each()
    assert len(done) == 2
