"""A home and its store before anything works with them: tables of this version, a name in common, an organisation.

Not in the house, which every process opens: only who starts prepares, and alone needs the migrations for it.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Literal

from sqlalchemy import insert, select

from ingestd import schemas
from ingestd.errors import Misconfigured
from ingestd.house import House
from ingestd.store import organisation
from ingestd.store.engine import reading, take_turn, writing
from ingestd.store.ledger import now
from ingestd.store.migrations import upgrade
from ingestd.store.tables import identity


def prepare_store(house: House) -> None:
    """Migrates the store, and applies the organisation when it never was: the first start, of whichever node."""
    upgrade(house.engine)
    _pair(house)
    house.whereabouts.settle()
    if not _applied(house, "organisation"):
        schemas.check_mappings(house.schemas, house.configuration)
        with writing(house.engine) as connection:
            take_turn(connection, "organisation")
            if organisation.version(connection, "organisation") == 0:  # nobody else did meanwhile
                organisation.apply(connection, house.configuration, now())
    elif not _applied(house, "statuses"):
        _give_statuses_rules(house)


def _give_statuses_rules(house: House) -> None:
    """For a store of before the statuses had rules, without which no lead could change its status."""
    with writing(house.engine) as connection:
        take_turn(connection, "organisation")
        if organisation.version(connection, "statuses") == 0:
            organisation.apply_statuses(connection, house.configuration.statuses, now())


def _applied(house: House, kind: str) -> bool:
    with reading(house.engine) as connection:
        return organisation.version(connection, kind) > 0


Pairing = Literal["paired", "fresh", "joins"]


def pairing(home: str | None, store: str | None, *, shared: bool) -> Pairing | None:
    """Whether a home may use a store, by the names that each has; None when it may not. Pure.

    A daemon with the wrong store would take the files of its spool for nobody's, and would load deliveries whose files
    it lacks. So a home and its store belong together for good. A fresh home joins a store that others use when all of
    them share their files as well, and only then: its workers could not read what the others receive.
    """
    if home is None and store is None:
        return "fresh"
    if home is None and shared:
        return "joins"
    return "paired" if home == store else None


def _pair(house: House) -> None:
    """Gives home and store the name that they share; raises Misconfigured when they do not belong together."""
    place = house.places.store
    mine = _written(place)
    with reading(house.engine) as connection:
        its = connection.scalar(select(identity.c.value))
    if pairing(mine, its, shared=house.shared) == "fresh":
        its, mine = _named(house), _written(place)
    outcome = pairing(mine, its, shared=house.shared)
    if outcome is None:
        raise Misconfigured(str(place), "store.url", _apart(mine, its))
    if outcome == "joins":
        place.write_text(f"{its}\n", encoding="ascii")


def _written(place: Path) -> str | None:
    return place.read_text(encoding="ascii").strip() if place.exists() else None


def _named(house: House) -> str:
    """The name of a store that had none; two nodes that find it nameless at the same time agree on one."""
    with writing(house.engine) as connection:
        take_turn(connection, "identity")
        its = connection.scalar(select(identity.c.value))
        if its is None:
            its = secrets.token_hex(16)
            connection.execute(insert(identity).values(id=1, value=its))
            house.places.store.write_text(f"{its}\n", encoding="ascii")
    return its


def _apart(mine: str | None, its: str | None) -> str:
    told = "this home and this store do not belong together"
    if its is None:
        return f"{told}: the home had a store, and this one is empty; put the database back, or restore a backup"
    told += "; give each home the store it was made with"
    if mine is None:
        told += ", or share the files too: several homes need PostgreSQL and storage.url"
    return told
