"""Change Owner: one lead or a million, in batches; who moved, who did not, and why not (LEADS.md).

`User Processed By` and `Uploaded By` stay as they are. Between two batches the work may be cancelled, or its process
may die: what was moved stays moved, and the same wish goes on where it ended.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Text,
    and_,
    cast,
    delete,
    func,
    literal,
    null,
    select,
    true,
    update,
)

from ingestd.leads import history, lead, selection, statuses
from ingestd.leads.history import Stamp
from ingestd.leads.selection import Filter
from ingestd.leads.statuses import StatusBook
from ingestd.model import Owner
from ingestd.store.engine import reading, repeated, writing
from ingestd.store.lead_tables import dial_stages
from ingestd.store.tables import campaigns
from ingestd.store.tables import leads as table

BATCH = 5_000
"""Leads moved by one transaction: enough to be quick, few enough that others wait for a moment only."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A wish to give leads another owner."""

    to: Owner
    by: int
    """the user's number"""
    at: datetime
    why: str = ""
    retain: bool = False
    """True: Private and VIP redials stay with the agent who has them"""
    unlock: bool = False
    """True: leads that somebody holds are unlocked and moved; else they are refused"""
    deactivated: bool = False
    """True: deactivated leads are moved too; else they are refused"""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How far a change has come: everything up to this lead is done."""

    campaign_id: int
    """0 when leads were named by number"""
    lead_id: int


START = Cursor(campaign_id=0, lead_id=0)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Both sides: the leads that moved, and those that did not, by reason."""

    moved: array[int] = field(default_factory=lambda: array("q"))
    refused: Mapping[str, array[int]] = field(default_factory=dict)
    """`locked`, `deactivated`, `retained`, `already_theirs`, `unknown` → lead numbers"""
    cursor: Cursor = START
    finished: bool = False
    """False when the work was cancelled; go on from `cursor`"""

    @property
    def looked_at(self) -> int:
        """How many leads were decided about."""
        return len(self.moved) + sum(len(numbers) for numbers in self.refused.values())


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What became of the leads of one transaction."""

    sides: Mapping[str, Sequence[int]]
    """`moved`, or the reason why not → lead numbers"""
    following: Cursor | None
    """where to go on; None: that was the last"""


def change_owner(  # noqa: PLR0913 - how much is done at once, and how far it is told, is the caller's
    engine: Engine,
    move: Move,
    leads: Filter | Sequence[int],
    *,
    after: Cursor = START,
    progress: Callable[[Moved], None] = lambda _moved: None,
    go_on: Callable[[], bool] = lambda: True,
    batch: int = BATCH,
    within: ColumnElement[bool] | None = None,
) -> Moved:
    """Moves leads to another owner; the result so far is told to `progress` after each batch, and returned in the end.

    Whatever is not `within` is like unknown. `go_on` is asked before each batch. Raises Rejected for an unknown status
    in the filter, Unavailable when the database is away; both leave the batches before as they are.
    """
    with reading(engine) as connection:
        book = statuses.read(connection)
        walk = walk_of(connection, book, leads, batch=batch, within=within)
    moved: array[int] = array("q")
    refused: dict[str, array[int]] = {}
    cursor = after
    result = Moved(moved=moved, refused=refused, cursor=cursor)
    while go_on() and not result.finished:
        done = repeated(_batch, engine, move, walk, book, cursor)
        # Counted when it is committed, so that nothing is told that did not happen.
        for reason, numbers in done.sides.items():
            (moved if reason == MOVED else refused.setdefault(reason, array("q"))).extend(numbers)
        cursor = done.following or cursor
        result = Moved(moved=moved, refused=refused, cursor=cursor, finished=done.following is None)
        progress(result)
    return result


def _batch(engine: Engine, move: Move, walk: Walk, book: StatusBook, after: Cursor) -> Batch:
    with writing(engine) as connection:
        return change_batch(connection, move, walk, book, after)


def change_batch(connection: Connection, move: Move, walk: Walk, book: StatusBook, after: Cursor) -> Batch:
    """Moves the next leads of a walk in the caller's transaction."""
    rows, missing, following = walk.take(connection, after)
    sides = _sort(rows, move, book)
    _write(connection, [row.id for row in sides.get(MOVED, ())], {row.campaign_id for row in rows}, move)
    numbers = {reason: [row.id for row in some] for reason, some in sides.items()}
    return Batch(sides=numbers | missing, following=following)


def walk_of(
    connection: Connection,
    book: StatusBook,
    leads: Filter | Sequence[int],
    *,
    batch: int = BATCH,
    within: ColumnElement[bool] | None = None,
) -> Walk:
    """The walk through the leads that are meant; whatever is not `within` is like unknown. Raises Rejected."""
    sphere = true() if within is None else within
    walk: Walk
    if isinstance(leads, Filter):
        walk = _Filtered(leads=leads, batch=batch, within=sphere)
    else:
        walk = _Numbered(numbers=sorted(set(leads)), batch=batch, within=sphere)
    walk.prepare(connection, book)
    return walk


MOVED = "moved"
_Rows = Sequence[Any]  # rows of the columns below
_TAKEN = select(
    table.c.campaign_id,
    table.c.id,
    table.c.owner_id,
    table.c.status_id,
    table.c.deactivated_at,
    table.c.locked_by_id,
    table.c.locked_until,
).with_for_update()


@dataclass(kw_only=True)
class _Walk:
    """Takes one batch of leads after the other in hand."""

    batch: int
    within: ColumnElement[bool]
    """a condition on the table of leads; the others are like unknown"""
    known: Sequence[int] = ()
    """the campaigns"""

    def prepare(self, connection: Connection, book: StatusBook) -> None:  # noqa: ARG002 - a filter needs the statuses
        """What is asked once."""
        self.known = sorted(connection.scalars(select(campaigns.c.id)))


@dataclass(kw_only=True)
class _Numbered(_Walk):
    """Leads that were named by number."""

    numbers: Sequence[int]

    def take(self, connection: Connection, after: Cursor) -> tuple[_Rows, dict[str, list[int]], Cursor | None]:
        """The rows of the next batch, the numbers that nobody has, and where to go on; None: that was the last."""
        start = bisect_right(self.numbers, after.lead_id)
        wanted = self.numbers[start : start + self.batch]
        these = (table.c.campaign_id.in_(self.known), selection.among(connection, table.c.id, wanted))
        query = _TAKEN.where(*these, self.within)
        rows = connection.execute(query.order_by(table.c.campaign_id, table.c.id)).all()
        missing = sorted(set(wanted) - {row.id for row in rows})
        more = start + self.batch < len(self.numbers)
        return (
            rows,
            {"unknown": missing} if missing else {},
            Cursor(campaign_id=0, lead_id=wanted[-1]) if more else None,
        )


@dataclass(kw_only=True)
class _Filtered(_Walk):
    """Leads of a filter: each campaign is walked once, by number, whatever index finds its leads."""

    leads: Filter
    where: ColumnElement[bool] = field(default_factory=true)

    def prepare(self, connection: Connection, book: StatusBook) -> None:
        """The filter as a condition, and the campaigns that it names."""
        super().prepare(connection, book)
        self.where = self.leads.where(book)
        if self.leads.campaign_id is not None:
            self.known = [number for number in self.known if number == self.leads.campaign_id]

    def take(self, connection: Connection, after: Cursor) -> tuple[_Rows, dict[str, list[int]], Cursor | None]:
        """As of leads that were named, but none can be missing."""
        for campaign in (number for number in self.known if number >= after.campaign_id):
            last = after.lead_id if campaign == after.campaign_id else 0
            query = _TAKEN.where(table.c.campaign_id == campaign, table.c.id > last, self.where, self.within)
            rows = connection.execute(query.order_by(table.c.id).limit(self.batch)).all()
            if rows:
                return rows, {}, Cursor(campaign_id=campaign, lead_id=rows[-1].id)
        return [], {}, None


Walk = _Numbered | _Filtered


def _sort(rows: _Rows, move: Move, book: StatusBook) -> dict[str, list[Any]]:
    """The rows by what becomes of them."""
    sides: dict[str, list[Any]] = {}
    for row in rows:
        sides.setdefault(_fate(row, move, book), []).append(row)
    return sides


def _fate(row: Any, move: Move, book: StatusBook) -> str:
    if row.owner_id == move.to.id:
        return "already_theirs"
    if row.deactivated_at is not None and not move.deactivated:
        return "deactivated"
    if lead.held(row, move.at) and not move.unlock:
        return "locked"
    if move.retain and book.by_id[row.status_id].takes_owner:
        return "retained"
    return MOVED


def _write(connection: Connection, numbers: list[int], known: set[int], move: Move) -> None:
    """History first, because it tells what was there before."""
    if not numbers:
        return
    these = and_(table.c.campaign_id.in_(known), selection.among(connection, table.c.id, numbers))
    stamp = Stamp(kind="owner", by=move.by, at=move.at, why=move.why)
    change = (cast(table.c.owner_id, Text), literal(str(move.to.id), Text))
    history.record_all(connection, these, "owner", change, stamp)
    values: dict[str, Any] = {
        "owner_id": move.to.id,
        "original_owner_id": func.coalesce(table.c.original_owner_id, table.c.owner_id),
        "modified_by_id": move.by,
        "modified_at": move.at,
        "version": table.c.version + 1,
    }
    if move.unlock:
        held = and_(these, table.c.locked_by_id.is_not(None))
        history.record_all(connection, held, "lock", (cast(table.c.locked_by_id, Text), null()), stamp)
        values |= {"locked_by_id": None, "locked_until": None}
    connection.execute(update(table).where(these).values(values))
    # Leads that are in no order yet may come before those of the new owner that are.
    stages = dial_stages.c
    connection.execute(delete(dial_stages).where(stages.campaign_id.in_(known), stages.owner_id == move.to.id))
