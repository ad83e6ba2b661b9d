"""What a dispatcher is, whatever it is made of: the one seam of ingestd that knows which kind of database there is.

Each source with something to load stands in the line once, with its first delivery; when that has ended, the source
goes to the end of the line with its next one. So the files of a source are never loaded at once or out of order, and
one with ten thousand files lets every other source go between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Select, bindparam, literal_column, select

from ingestd.model import State
from ingestd.store.tables import deliveries

Handler = Callable[[int], None]
"""Takes a delivery's number; returns when it has ended, raises Unavailable when it must be tried again."""

LONGEST_PAUSE = timedelta(minutes=5)
RECONCILE_SECONDS = 60.0
"""How often a worker looks for deliveries that nobody will load."""

# Literal, because neither database uses a partial index for a condition that comes as a parameter. A delivery that is
# only received waits for the proof that it is whole, and needs no job before that.
UNENDED = (
    deliveries.c.published_at.is_(None),
    deliveries.c.state.in_([literal_column(f"'{state}'") for state in (State.QUEUED, State.RUNNING)]),
)

NEXT_OF_SOURCE: Select[int] = (
    select(deliveries.c.id)
    .where(deliveries.c.source == bindparam("its_source"), *UNENDED)
    .order_by(deliveries.c.id)
    .limit(1)
)
"""The order inside a source is that of the delivery numbers: the order in which its files arrived."""

_EPOCH: Select[int] = select(deliveries.c.epoch).where(deliveries.c.id == bindparam("delivery"), *UNENDED)
"""None for a delivery that has ended."""


class Stop(Protocol):
    """When to stop, and how to wait for work meanwhile."""

    def is_set(self) -> bool:
        """True when no further job may be taken."""

    def wait(self) -> None:
        """Returns at the doorbell, at the stop, and otherwise after a moment."""

    def ring(self) -> None:
        """Ends the wait, from any thread: there may be work."""


class Dispatcher(Protocol):
    """Who processes which delivery, and when: at least once, in the order of each source, and fair between them."""

    def submit(self, connection: Connection, delivery_id: int) -> None:
        """Lets a delivery into the queue, in the ledger's own transaction; one that is there already stays there."""

    def run(self, handler: Handler, stop: Stop) -> None:
        """Hands deliveries to `handler`, one after the other, until `stop`."""

    def release(self, worker: str | None = None) -> int:
        """Gives back the job of a worker of this node that is gone, or of all of them; returns how many."""

    def reconcile(self) -> int:
        """Gives every source with an unended delivery its place in the line, whatever lost it; returns how many."""

    def done(self, delivery_id: int) -> None:
        """Tells of a delivery that was brought to its end outside of `run`."""

    def health(self) -> dict[str, Any]:
        """`ready` and `running` deliveries, and `oldest_seconds`: how long the oldest ready one has been queued."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A source's turn: its delivery that is to be loaded now."""

    source: str
    delivery_id: int
    key: int = 0
    """the number that the dispatcher itself knows it by, when it has one"""


@dataclass(frozen=True, kw_only=True)
class Handled:
    """A job that its worker has let go of."""

    job: Job
    postponed: str | None = None
    """why it must be tried again; None when it is done"""


def to_repeat(connection: Connection, handled: Handled) -> int | None:
    """The attempt that a delivery must be tried again after; None when there is nothing to repeat.

    One that has ended all the same, and whose results could not be handed back, holds nobody up.
    """
    if handled.postponed is None:
        return None
    epoch: int | None = connection.scalar(_EPOCH, {"delivery": handled.job.delivery_id})
    return epoch


def pause_after(epoch: int, first: timedelta) -> timedelta:
    """How long a delivery waits after its attempt number `epoch`: twice as long each time, up to LONGEST_PAUSE."""
    return min(first * (1 << min(max(epoch, 1) - 1, 10)), LONGEST_PAUSE)
