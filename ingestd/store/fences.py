"""Fences: that nothing came between the screening of a file and its load. A load that finds otherwise screens again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, bindparam, select, update

from ingestd.store import partitions
from ingestd.store.engine import unless_there, writing
from ingestd.store.tables import campaigns, do_not_call_sequence

MANY = 20_000
"""Rows from which PostgreSQL's transaction begins beside what gets them ready."""

# Built once: building them for each small delivery cost more than running them.
_IT = campaigns.c.id == bindparam("campaign")
_LOADS = select(campaigns.c.load_sequence).where(_IT)
_NEXT_LOAD = (
    update(campaigns)
    .where(_IT, campaigns.c.load_sequence == bindparam("seen"))
    .values(load_sequence=bindparam("following"))
)
_LISTS = select(do_not_call_sequence.c.value)
_LISTS_LOCKED = _LISTS.with_for_update(read=True)


@dataclass(frozen=True, kw_only=True)
class Fence:
    """The state of a campaign and of the do-not-call lists that a screening saw."""

    campaign_id: int
    load_sequence: int
    do_not_call_sequence: int


def seen(connection: Connection, campaign_id: int) -> Fence:
    """What a screening that starts now is screened against."""
    loads = connection.scalar(_LOADS, {"campaign": campaign_id})
    return Fence(campaign_id=campaign_id, load_sequence=loads or 0, do_not_call_sequence=_list_sequence(connection))


def passed(connection: Connection, fence: Fence) -> bool:
    """In the loading transaction: True when nothing was loaded or listed since; then later loads wait for this one."""
    mine = {"campaign": fence.campaign_id, "seen": fence.load_sequence, "following": fence.load_sequence + 1}
    moved = connection.execute(_NEXT_LOAD, mine)
    return moved.rowcount == 1 and _list_sequence(connection, lock=True) == fence.do_not_call_sequence


def hold(connection: Connection, campaign_id: int) -> None:
    """Until the transaction ends nobody loads into the campaign, and nobody changes the state of its pools."""
    connection.execute(select(campaigns.c.id).where(campaigns.c.id == campaign_id).with_for_update())


def overtake(connection: Connection, campaign_id: int) -> None:
    """Makes loads that have screened look once more: a lead that they found is gone, or has not its number any more."""
    grown = {"load_sequence": campaigns.c.load_sequence + 1}
    connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(grown))


@contextmanager
def begun(engine: Engine, fence: Fence, rows: int) -> Iterator[Callable[[], Connection | None]]:
    """The transaction of a load of so many new leads; committed behind the block, which must ask and insert.

    It is given as a question to be asked once, when all is ready to be loaded: None when the fence was not passed. On
    PostgreSQL it begins beside what gets many rows ready; on SQLite, where it keeps all others from writing, not before
    it is asked for.
    """
    ahead = engine.dialect.name == "postgresql" and rows >= MANY
    with ExitStack() as stack, ThreadPoolExecutor(1, "begin") as thread:

        def begin() -> Connection | None:
            connection = stack.enter_context(writing(engine, bulk=True))
            if not passed(connection, fence):
                return None
            if ahead:
                partitions.begin(connection, fence.campaign_id)
            return connection

        if not ahead:
            yield begin
            return
        beginning = thread.submit(begin)
        yield beginning.result
        connection = beginning.result()
        # A table that was begun and never became part of the table of leads would be in the way of every later load.
        assert connection is None or partitions.there(connection, fence.campaign_id), "nothing was inserted"


def _list_sequence(connection: Connection, *, lock: bool = False) -> int:
    return connection.scalar(_LISTS_LOCKED if lock else _LISTS) or 0


def lists_change(connection: Connection) -> None:
    """Raises the fences of all loads that have screened, and holds back those to come until the commit."""
    move = update(do_not_call_sequence).values(value=do_not_call_sequence.c.value + 1)
    if connection.execute(move).rowcount == 0:  # the very first list; two may find that at once
        connection.execute(unless_there(connection, do_not_call_sequence).values(id=1, value=0))
        connection.execute(move)
