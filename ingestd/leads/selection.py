"""Which leads are meant: by their numbers, or by a filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from ingestd.errors import Invalid, Rejected
from ingestd.leads import statuses
from ingestd.leads.lead import WITH_STATUS, Lead, of_row
from ingestd.leads.statuses import StatusBook
from ingestd.store import many
from ingestd.store.tables import Id, campaigns, teams, users
from ingestd.store.tables import leads as table


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Leads that have all of these; None: any."""

    campaign_id: int | None = None
    pool_id: int | None = None
    owner_id: int | None = None
    status: str | None = None
    """code of the status, or `open` or `closed`"""
    phone: str | None = None
    """as it is kept"""
    deactivated: bool | None = None
    further: ColumnElement[bool] | None = None
    """any other condition on the table of leads, such as what a user may see"""

    def where(self, book: StatusBook) -> ColumnElement[bool]:
        """The filter as a condition; raises Rejected for an unknown status."""
        plain = {name: getattr(self, name) for name in ("campaign_id", "pool_id", "owner_id", "phone")}
        found: list[ColumnElement[bool]] = [true()]
        found += [table.c[name] == value for name, value in plain.items() if value is not None]
        if self.status is not None:
            found.append(table.c.status_id.in_(_statuses(self.status, book)))
        if self.deactivated is not None:
            found.append(table.c.deactivated_at.is_not(None) == self.deactivated)
        if self.further is not None:
            found.append(self.further)
        return and_(*found)


FIELDS = ("campaign", "pool", "owner", "status", "deactivated")
"""Of a filter that is kept. No phone: what is kept about changes outlives the person's data."""

LARGEST = 2**63 - 1
"""The number of no pool is larger: stores count in 63 bits."""


def is_plain(given: Mapping[str, Any]) -> bool:
    """True for a filter of FIELDS, or of nothing; False for one of the filter language (`filters`)."""
    return given.keys().isdisjoint(("field", "all", "any", "not"))


def parsed(connection: Connection, given: Mapping[str, Any]) -> Filter:
    """A filter as programs write it; raises Invalid when it is none or means every lead, Rejected for unknown names.

    `campaign` is a code, `pool` a number, `owner` `team:<key>` or `user:<login>`, `status` a code or `open` or
    `closed`, `deactivated` true or false.
    """
    kinds: dict[str, type] = {**dict.fromkeys(FIELDS, str), "pool": int, "deactivated": bool}
    if not given:
        raise _unusable("a filter names at least one field, so that nobody means every lead by mistake")
    for name, value in given.items():
        if name not in kinds or type(value) is not kinds[name]:
            raise _unusable(f"{name!r} is no field of a filter, or its value is of another kind")
    if not 0 <= given.get("pool", 0) <= LARGEST:
        raise _unusable("`pool` is no number of a pool")
    campaign, owner = given.get("campaign"), given.get("owner")
    wanted = Filter(
        campaign_id=None if campaign is None else campaign_named(connection, campaign),
        pool_id=given.get("pool"),
        owner_id=None if owner is None else owner_named(connection, owner),
        status=given.get("status"),
        deactivated=given.get("deactivated"),
    )
    wanted.where(statuses.read(connection))
    return wanted


def campaign_named(connection: Connection, code: str) -> int:
    """The number of a campaign, also of one that is not active: its leads may be listed and moved. Raises Rejected."""
    found: int | None = connection.scalar(select(campaigns.c.id).where(campaigns.c.code == code))
    if found is None:
        raise Rejected("campaign_unknown", f"the campaign {code!r} does not exist")
    return found


def owner_named(connection: Connection, name: str) -> int:
    """The number of `team:<key>` or `user:<login>`, also of who has left: somebody takes over. Raises Rejected."""
    kind, _, key = name.partition(":")
    queries = {
        "team": select(teams.c.id).where(teams.c.key == key),
        "user": select(users.c.id).where(users.c.login == key),
    }
    found: int | None = connection.scalar(queries[kind]) if kind in queries else None
    if found is None:
        hint = "write team:<key> or user:<login>; ingestd org show lists them"
        raise Rejected("owner_unknown", f"there is no team or user {name!r}", suggestion=hint)
    return found


def _unusable(told: str) -> Invalid:
    told += f"; its fields are {', '.join(FIELDS)}, and comparisons, `all`, `any` and `not` make one of any field"
    return Invalid("filter_unusable", told, field="body.filter")


def _statuses(wanted: str, book: StatusBook) -> tuple[int, ...]:
    return book.ids(kind=wanted) if wanted in ("open", "closed") else (book.get(wanted).id,)


NOT_BY_POOL = table.c.version >= 0
"""Always true. SQLite takes a question for many numbers, and for nothing else but pools, for one to be answered by all
of the index of pools; the version is not in it."""


def among(connection: Connection, key: ColumnElement[Any], numbers: Iterable[int]) -> ColumnElement[bool]:
    """`key` is one of many numbers, which travel as one parameter: thousands of them would each be parsed."""
    return many.one_of(connection.dialect.name, key, numbers, Id)


def listed(connection: Connection, numbers: Sequence[int]) -> ColumnElement[Any]:
    """Many numbers as the column of a table, for statements that select from it."""
    if connection.dialect.name == "postgresql":
        return func.unnest(bindparam(None, list(numbers), ARRAY(Id))).column_valued("value")
    return many.of_json(numbers, Id)


def taken(connection: Connection, numbers: Iterable[int]) -> list[Lead]:
    """Leads that were taken before (`rights.take_all`), as they are, in the order of their numbers."""
    known = connection.scalars(select(campaigns.c.id)).all()
    these = (table.c.campaign_id.in_(known), among(connection, table.c.id, numbers))
    rows = connection.execute(WITH_STATUS.where(*these).order_by(table.c.id)).mappings()
    return [of_row(dict(row)) for row in rows]


def latest(connection: Connection, wanted: Filter, *, limit: int) -> list[Lead]:
    """The newest leads of a filter first. Each campaign is asked by itself, because keys begin with it."""
    where = wanted.where(statuses.read(connection))
    mine = select(campaigns.c.id)
    if wanted.campaign_id is not None:
        mine = mine.where(campaigns.c.id == wanted.campaign_id)
    found: list[Lead] = []
    for number in connection.scalars(mine).all():
        newest = WITH_STATUS.where(table.c.campaign_id == number, where).order_by(table.c.id.desc()).limit(limit)
        found += [of_row(dict(row)) for row in connection.execute(newest).mappings()]
    return sorted(found, key=lambda lead: lead.id, reverse=True)[:limit]
