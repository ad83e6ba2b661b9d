"""A worker's turns: it ends one job and takes the next in one transaction, and outlives a database that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from ingestd.dispatch.dispatcher import Handled, Handler, Job, Stop
from ingestd.errors import Unavailable

log = structlog.get_logger()


class Turn(Protocol):
    """What a dispatcher does between two deliveries."""

    def __call__(self, handled: Handled | None, *, more: bool) -> Job | None:
        """Ends the job that was handled, and takes one if `more`; None when there is none."""


def take_turns(turn: Turn, handler: Handler, stop: Stop, *, idle: Callable[[], object]) -> None:
    """Works until `stop`; the delivery in hand is brought to its end. `idle` is done before each wait.

    While the database is away nothing is taken, and what was handled is told as soon as it is back.
    """
    handled: Handled | None = None
    away = False
    while handled is not None or not stop.is_set():
        try:
            job = turn(handled, more=not stop.is_set())
            if job is None:
                idle()
        except Unavailable as problem:
            if not away:
                log.warning("dispatch_store_away", error=str(problem))
            if stop.is_set():
                return  # whoever gives back the jobs of workers that are gone gives this one back
            away = True
            stop.wait()
            continue
        handled, away = None, False
        if job is not None:
            handled = _handle(handler, job)
        elif not stop.is_set():
            stop.wait()


def _handle(handler: Handler, job: Job) -> Handled:
    try:
        handler(job.delivery_id)
    except Unavailable as problem:
        return Handled(job=job, postponed=str(problem))
    return Handled(job=job)


@dataclass(kw_only=True)
class Every:
    """An action that is done when it is called, but not sooner than `seconds` after the last time."""

    seconds: float
    action: Callable[[], object]
    clock: Callable[[], float] = time.monotonic
    done_at: float | None = None

    def __call__(self) -> None:
        """Does it, if it is time."""
        moment = self.clock()
        if self.done_at is None or moment - self.done_at >= self.seconds:
            self.done_at = moment
            self.action()
