"""One lead: reading it, taking it in hand, and the one way in which its columns are changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Integer, String, bindparam, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from ingestd.errors import Rejected
from ingestd.leads import history, order
from ingestd.leads.history import Stamp
from ingestd.schemas import SYSTEM_FIELDS
from ingestd.store import listed, tables
from ingestd.store.tables import Id, campaigns, statuses
from ingestd.store.tables import leads as table


@dataclass(frozen=True, kw_only=True)
class Lead:
    """One person or company to call, as the store has it."""

    campaign_id: int
    id: int
    pool_id: int
    row: int
    """the record's number in its file"""
    owner_id: int
    original_owner_id: int
    """who owned it when it was uploaded"""
    status_id: int
    status: str
    """the code of its status"""
    fields: Mapping[str, str | int | date | datetime | None]
    """every system field of `schemas/lead.toml`"""
    extra: Mapping[str, Any]
    """the fields of the campaign's template"""
    processed_by_id: int | None
    """the agent who called last"""
    created_by_id: int | None
    """the user who typed it; None for what came in a file"""
    modified_by_id: int | None
    modified_at: datetime | None
    result_id: int | None
    """the last status that people gave, when a rule, a list or anonymising gave another one since; else None"""
    status_at: datetime | None
    """since when it has its status; None: since its upload"""
    called_at: datetime | None
    attempts: int
    deactivated_at: datetime | None
    locked_by_id: int | None
    locked_until: datetime | None
    segment_id: int | None
    dial_rank: int | None
    """its place in a shuffled pool; None: its row"""
    version: int
    """grows with every change; what a client saw last (ETag)"""
    withheld: tuple[str, ...] = ()
    """fields that are left out here, because nobody may call their number (`do_not_call.without_listed`)"""

    @property
    def scheduled_at(self) -> datetime | None:
        """Not to be called before."""
        moment = self.fields["scheduled_at"]
        assert moment is None or isinstance(moment, datetime)
        return moment

    @property
    def phone(self) -> str:
        """The number at which it is called; empty when it was anonymised."""
        return str(self.fields["phone"])

    @property
    def lists(self) -> tuple[int, int]:
        """The do-not-call lists that count for it: the global one and its campaign's."""
        return (listed.GLOBAL, self.campaign_id)

    def locked(self, at: datetime, *, but_by: int | None = None) -> bool:
        """True while somebody, other than `but_by`, holds the lead."""
        return held(self, at) and self.locked_by_id != but_by


def held(row: Any, at: datetime) -> bool:
    """True while somebody holds a lead; any row with `locked_by_id` and `locked_until`."""
    return row.locked_by_id is not None and row.locked_until is not None and row.locked_until > at


_PLAIN = tuple(name for name in Lead.__dataclass_fields__ if name not in ("status", "fields", "extra", "withheld"))
WITH_STATUS = select(table, statuses.c.code.label("status")).join(statuses, statuses.c.id == table.c.status_id)
"""Whole rows of leads, as `of_row` wants them."""

UNTOLD = frozenset({
    *("modified_by_id", "modified_at", "status_at", "result_id", "called_at", "locked_until", "original_owner_id"),
})  # fmt: skip
"""Columns whose change history tells by another one, or by its own moment."""

LOCK = frozenset({"locked_by_id", "locked_until"})
"""Columns that say who holds a lead; to hold one, or to give it back, does not modify it."""

_NAMES = {"status_id": "status", "owner_id": "owner", "locked_by_id": "lock", "processed_by_id": "processed_by"}


def of_row(row: Mapping[str, Any]) -> Lead:
    """A lead of a row of the table of leads, with `status` beside it."""
    values = {name: row[name] for name in _PLAIN}
    values["original_owner_id"] = row["original_owner_id"] or row["owner_id"]
    fields = {name: row[name] for name in SYSTEM_FIELDS}
    return Lead(**values, status=row["status"], fields=fields, extra=unpacked(row["extra"]))


def find(connection: Connection, lead_id: int) -> Lead:
    """A lead by its number; raises Rejected when there is none."""
    return _found(connection, lead_id, lock=False)


def take(connection: Connection, lead_id: int, *, version: int | None = None) -> Lead:
    """A lead that nobody else changes until this transaction ends; raises Rejected when it is unknown or has changed.

    `version` is the one that the editor saw.
    """
    here = _found(connection, lead_id, lock=True)
    if version is not None and version != here.version:
        raise Rejected(
            "version_conflict",
            f"lead {lead_id} has version {here.version}, not {version}: somebody changed it meanwhile",
            suggestion="read it again, and make the change to what it says now",
        )
    return here


def _found(connection: Connection, lead_id: int, *, lock: bool) -> Lead:
    # The key begins with the campaign, so a number alone is looked for in each: one step down an index a campaign.
    known = connection.scalars(select(campaigns.c.id)).all()
    query = WITH_STATUS.where(table.c.campaign_id.in_(known), table.c.id == lead_id)
    if lock:
        query = query.with_for_update(of=table)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise Rejected("lead_unknown", f"there is no lead {lead_id}", suggestion="ingestd lead list shows some")
    return of_row(dict(row))


def refuse_if_locked(connection: Connection, here: Lead, *, by: int | None, at: datetime) -> None:
    """Raises Rejected, with who and until when, while somebody else holds the lead."""
    for refusal in locks(connection, [here], by=by, at=at).values():
        raise refusal


def locks(connection: Connection, these: Iterable[Lead], *, by: int | None, at: datetime) -> dict[int, Rejected]:
    """The leads that somebody else holds, each with who and until when."""
    shut = [here for here in these if here.locked(at, but_by=by)]
    names = owner_names(connection, sorted({here.locked_by_id or 0 for here in shut})) if shut else {}
    told = {
        here.id: f"lead {here.id} is locked by {names.get(here.locked_by_id or 0, f'user {here.locked_by_id}')} "
        f"until {here.locked_until:%Y-%m-%d %H:%M:%S} UTC"
        for here in shut
    }
    hint = "wait, or have the lead unlocked"
    return {number: Rejected("lead_locked", message, suggestion=hint) for number, message in told.items()}


def owner_names(connection: Connection, numbers: list[int]) -> dict[int, str]:
    """`team:<key>` and `user:<login>` of these numbers."""
    team, user = tables.teams.c, tables.users.c
    of_teams = select(team.id, literal("team:") + team.key).where(team.id.in_(numbers))
    of_users = select(user.id, literal("user:") + user.login).where(user.id.in_(numbers))
    return {row[0]: row[1] for query in (of_teams, of_users) for row in connection.execute(query)}


def write(connection: Connection, here: Lead, values: Mapping[str, Any], stamp: Stamp) -> Lead:
    """Sets columns of a lead that was taken, writes its history, and counts its version on; the lead as it is then.

    `extra` is given as a mapping. What has its value already is not told.
    """
    write_all(connection, [(here, values)], stamp)
    return find(connection, here.id)


def write_all(connection: Connection, changed: Sequence[tuple[Lead, Mapping[str, Any]]], stamp: Stamp) -> None:
    """The same for many leads, by a few statements: one for the history, and one for all that get the same values."""
    book = {row.id: row for row in connection.execute(_STATUSES)}
    alike: dict[tuple[Any, ...], list[tuple[Lead, str | None]]] = {}
    for here, values in changed:
        signed = {} if values.keys() <= LOCK else {"modified_by_id": stamp.by, "modified_at": stamp.at}
        stored = {**values, **signed}
        if "extra" in stored:
            stored["extra"] = packed(stored["extra"])
        same = (here.campaign_id, *sorted(stored.items()))
        alike.setdefault(same, []).append((here, _dial_key(here, values, book, stamp.at)))
    for (campaign_id, *stored_values), some in alike.items():
        _store(connection, campaign_id, dict(stored_values), some)
    told = [((here.campaign_id, here.id, here.version + 1), _changes(here, values, book)) for here, values in changed]
    history.record_many(connection, told, stamp)


def _store(
    connection: Connection, campaign_id: int, values: Mapping[str, Any], some: Sequence[tuple[Lead, str | None]]
) -> None:
    """Gives leads of one campaign the same values, and each its own place in the order of dialling."""
    mine = update(table).where(table.c.campaign_id == campaign_id)
    if connection.dialect.name == "postgresql":
        columns = (
            ([here.id for here, _ in some], Id),
            ([here.version for here, _ in some], Integer()),
            ([key for _, key in some], String()),
        )
        given = func.unnest(*(bindparam(None, each, ARRAY(kind)) for each, kind in columns))
        those = given.table_valued("id", "version", "key").render_derived(name="those")
        these = mine.where(table.c.id == those.c.id, table.c.version == those.c.version)
        done = connection.execute(these.values({**values, "dial_key": those.c.key, "version": table.c.version + 1}))
    else:
        these = mine.where(table.c.id == bindparam("number"), table.c.version == bindparam("seen"))
        new = {**values, "dial_key": bindparam("key"), "version": table.c.version + 1}
        rows = [{"number": here.id, "seen": here.version, "key": key} for here, key in some]
        done = connection.execute(these.values(new), rows)
    assert done.rowcount == len(some), "a lead that was taken cannot change by other hands"


_STATUSES = select(statuses.c.id, statuses.c.code, statuses.c.kind, statuses.c.dial_order)


def _dial_key(here: Lead, values: Mapping[str, Any], book: Mapping[int, Any], at: datetime) -> str | None:
    """Where the lead stands in the order of dialling when it has these values; None: it is not to be dialled now."""
    status = book[values.get("status_id", here.status_id)]
    scheduled: datetime | None = values.get("scheduled_at", here.scheduled_at)
    gone = values.get("deactivated_at", here.deactivated_at) is not None
    if status.kind != "open" or status.dial_order is None or gone or (scheduled is not None and scheduled > at):
        return None
    priority = values.get("priority", here.fields["priority"])
    rank = here.row if here.dial_rank is None else here.dial_rank
    return order.key(status.dial_order, priority, scheduled, here.pool_id, rank)


def after(here: Lead, values: Mapping[str, Any], status: str) -> Lead:
    """The lead as it is when these columns of it were written; `status` is the code of the one that it has then."""
    plain = {name: value for name, value in values.items() if name not in SYSTEM_FIELDS}
    fields = {name: values.get(name, value) for name, value in here.fields.items()}
    return replace(here, **plain, fields=fields, status=status, version=here.version + 1)


def packed(extra: Mapping[str, Any]) -> str | None:
    """The template's fields as they are stored; None when all are empty."""
    if all(value is None for value in extra.values()):
        return None
    return json.dumps(dict(extra), ensure_ascii=False, separators=(",", ":"))


def unpacked(extra: str | None) -> dict[str, Any]:
    """The template's fields as they are read."""
    found: dict[str, Any] = json.loads(extra or "{}")
    return found


def _changes(here: Lead, values: Mapping[str, Any], book: Mapping[int, Any]) -> dict[str, tuple[Any, Any]]:
    """What history tells: by field, the value before and the value after."""
    told: dict[str, tuple[Any, Any]] = {}
    for name, value in values.items():
        if name in UNTOLD:
            continue
        if name == "extra":
            told |= {key: (here.extra.get(key), value.get(key)) for key in {**here.extra, **value}}
        elif name == "status_id":
            told["status"] = (here.status, book[value].code)
        else:
            before = here.fields[name] if name in SYSTEM_FIELDS else getattr(here, name)
            told[_NAMES.get(name, name)] = (before, value)
    return {name: pair for name, pair in told.items() if pair[0] != pair[1]}
