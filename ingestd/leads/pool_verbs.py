"""One thing done with each of many lead pools: what cannot be done with one holds none of the others up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from ingestd.errors import Conflict, Missing
from ingestd.leads import pools
from ingestd.store.audit import Deed
from ingestd.store.engine import writing

Verb = Callable[[Connection, Deed, int], str]
"""Does something with one pool and tells what came of it; raises Missing and Conflict."""


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


def _empty(connection: Connection, deed: Deed, number: int) -> str:
    gone = pools.delete_unprocessed(connection, deed, number)
    kept = ", ".join(f"{count:,} {why}" for why, count in gone.kept.items())
    return f"{gone.deleted:,} unprocessed leads were deleted{f'; kept: {kept}' if kept else ''}"


VERBS: Mapping[str, Verb] = {
    "activate": _activate,
    "deactivate": _deactivate,
    "shuffle": _shuffle,
    "delete_unprocessed": _empty,
}


def each(engine: Engine, deed: Deed, verb: str, numbers: Iterable[int]) -> list[Fate]:
    """Does a thing of VERBS with each pool, every one in a transaction of its own; raises Unavailable."""
    return [_done(engine, deed, VERBS[verb], number) for number in dict.fromkeys(numbers)]


def _done(engine: Engine, deed: Deed, verb: Verb, number: int) -> Fate:
    try:
        with writing(engine) as connection:
            told = verb(connection, deed, number)
    except (Missing, Conflict) as problem:
        return Fate(number=number, done=False, told=problem.message)
    return Fate(number=number, done=True, told=told)
