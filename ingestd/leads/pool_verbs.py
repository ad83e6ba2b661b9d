"""One thing done with each of many lead pools: what cannot be done with one holds none of the others up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import ColumnElement, Connection

from ingestd.errors import Conflict, Denied, Missing
from ingestd.leads import pools, undoing
from ingestd.store.audit import Deed
from ingestd.store.engine import writing
from ingestd.store.ledger import Ledger

Verb = Callable[[Connection, Deed, int], str]
"""Does something with one pool and tells what came of it; raises Missing, Conflict and Denied."""


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What became of one pool."""

    number: int
    done: bool
    told: str
    """what was done, or why nothing was"""


def _activate(connection: Connection, deed: Deed, number: int) -> str:
    pools.activate(connection, deed, number)
    return "it is active: its leads are given out"


def _deactivate(connection: Connection, deed: Deed, number: int) -> str:
    pools.deactivate(connection, deed, number)
    return "it is inactive: only its VIP and Private redials are given out"


def _shuffle(connection: Connection, deed: Deed, number: int) -> str:
    return f"{pools.shuffle(connection, deed, number):,} leads are in a random order now"


def _empty(beyond: ColumnElement[bool], connection: Connection, deed: Deed, number: int) -> str:
    gone = pools.delete_unprocessed(connection, deed, number, beyond)
    kept = ", ".join(f"{count:,} {why}" for why, count in gone.kept.items())
    return f"{gone.deleted:,} unprocessed leads were deleted{f'; kept: {kept}' if kept else ''}"


def _undo(ledger: Ledger, beyond: ColumnElement[bool], connection: Connection, deed: Deed, number: int) -> str:
    gone = undoing.undo(connection, deed, number, ledger, beyond)
    return f"it was undone: {gone.deleted:,} leads were taken back"


VERBS = ("activate", "deactivate", "shuffle", "delete_unprocessed", "undo")


def _verbs(ledger: Ledger, beyond: ColumnElement[bool]) -> Mapping[str, Verb]:
    lasting = (partial(_empty, beyond), partial(_undo, ledger, beyond))
    return dict(zip(VERBS, (_activate, _deactivate, _shuffle, *lasting), strict=True))


def each(ledger: Ledger, deed: Deed, verb: str, numbers: Iterable[int], beyond: ColumnElement[bool]) -> list[Fate]:
    """Does a thing of VERBS with each pool, every one in a transaction of its own; raises Unavailable.

    `beyond` are the leads that are `rights.out_of_reach`.
    """
    does = _verbs(ledger, beyond)[verb]
    return [_done(ledger, deed, does, number) for number in dict.fromkeys(numbers)]


def _done(ledger: Ledger, deed: Deed, verb: Verb, number: int) -> Fate:
    try:
        with writing(ledger.engine) as connection:
            told = verb(connection, deed, number)
    except (Missing, Conflict, Denied) as problem:
        return Fate(number=number, done=False, told=problem.message)
    return Fate(number=number, done=True, told=told)
