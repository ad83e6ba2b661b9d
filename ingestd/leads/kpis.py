"""The figures that an operator may add to a lead pool (LEADS.md, "Lead pools"), as data.

`count:<status>` and `share:<status>` are there for every status; the others are in KPIS. All are answered from one walk
over the leads of the pool, grouped by status, and the counts of its delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select

from ingestd.errors import Invalid, Missing
from ingestd.leads import statuses
from ingestd.leads.statuses import StatusBook
from ingestd.store.tables import deliveries, pools
from ingestd.store.tables import leads as table

Figure = float | None
"""None: there is nothing yet that it could be counted from"""

REACHED = frozenset({
    *("success", "not_interested", "unqualified", "language_barrier", "already_customer", "call_transferred"),
    *("wrong_number", "deceased", "manual_redial_common", "manual_redial_private", "manual_redial_vip"),
    *("follow_up_redial", "pending_validation", "validation_rejected"),
})  # fmt: skip
"""Statuses of a called lead that say that somebody answered and spoke."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The leads of a pool that have one status."""

    leads: int = 0
    called: int = 0
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What every figure of a pool is made from."""

    groups: Mapping[str, Group]
    """by the code of the status"""
    opened: frozenset[str]
    """the codes of the open statuses"""
    records: Mapping[str, int]
    """the counts of the delivery; empty when the leads came otherwise"""
    days: float
    """since the upload"""

    def count(self, of: str, codes: Iterable[str] | None = None) -> int:
        """The sum of `leads`, `called` or `attempts` over these statuses; None: over all."""
        chosen = self.groups if codes is None else self.groups.keys() & set(codes)
        return sum(getattr(self.groups[code], of) for code in chosen)


@dataclass(frozen=True, kw_only=True)
class Kpi:
    """One figure."""

    name: str
    unit: str
    """`leads`, `percent`, `attempts` or `days`"""
    meaning: str
    figure: Callable[[Facts], Figure]


def _share(part: float, whole: float) -> Figure:
    return round(100 * part / whole, 1) if whole else None


def _records(facts: Facts, *names: str) -> Figure:
    return _share(sum(facts.records.get(name, 0) for name in names), facts.records.get("records", 0))


def _average(facts: Facts) -> Figure:
    called = facts.count("called")
    return round(facts.count("attempts") / called, 2) if called else None


KPIS = tuple(
    Kpi(name=name, unit=unit, meaning=meaning, figure=figure)
    for name, unit, meaning, figure in (
        ("total", "leads", "all leads", lambda facts: facts.count("leads")),
        ("open", "leads", "leads with an open status", lambda facts: facts.count("leads", facts.opened)),
        ("closed", "leads", "the others", lambda facts: facts.count("leads") - facts.count("leads", facts.opened)),
        ("accept_rate", "percent", "records that became a lead or met one, of all records",
         lambda facts: _records(facts, "inserted", "updated", "unchanged")),
        ("update_rate", "percent", "records that changed a lead, of all records",
         lambda facts: _records(facts, "updated")),
        ("reject_rate", "percent", "records with errors, of all records", lambda facts: _records(facts, "rejected")),
        ("contact_rate", "percent", "leads where somebody spoke, of those that were called",
         lambda facts: _share(facts.count("called", REACHED), facts.count("called"))),
        ("success_rate", "percent", "leads with Success, of those that were called",
         lambda facts: _share(facts.count("called", ["success"]), facts.count("called"))),
        ("average_attempts", "attempts", "attempts for each lead that was called", _average),
        ("age", "days", "since the upload", lambda facts: round(facts.days, 1)),
    )
)  # fmt: skip


def measured(
    connection: Connection, number: int, names: Iterable[str], at: datetime, *, source: str | None = None
) -> list[tuple[Kpi, Figure]]:
    """Figures of a pool in the order of their names; none named: all of KPIS.

    With `source` a pool of its deliveries only. Raises Missing, or Invalid for a name that is none.
    """
    book = statuses.read(connection)
    wanted = [_known(name, book) for name in names] or list(KPIS)
    facts = _facts(connection, number, book, at, source)
    return [(kpi, kpi.figure(facts)) for kpi in wanted]


def _known(name: str, book: StatusBook) -> Kpi:
    kind, _, code = name.partition(":")
    if kind in ("count", "share") and code in book.by_code:
        title = book.by_code[code].name
        if kind == "count":
            return Kpi(name=name, unit="leads", meaning=title, figure=lambda facts: facts.count("leads", [code]))
        return Kpi(name=name, unit="percent", meaning=f"{title}, of all leads", figure=_share_of(code))
    for kpi in KPIS:
        if kpi.name == name:
            return kpi
    told = f"{name!r} is no figure; use {', '.join(kpi.name for kpi in KPIS)}, count:<status> or share:<status>"
    raise Invalid("kpi_unknown", told, field="kpi")


def _share_of(code: str) -> Callable[[Facts], Figure]:
    return lambda facts: _share(facts.count("leads", [code]), facts.count("leads"))


_COUNTS = ("records", "inserted", "updated", "unchanged", "rejected")


def _facts(connection: Connection, number: int, book: StatusBook, at: datetime, source: str | None) -> Facts:
    query = (
        select(pools.c.campaign_id, pools.c.uploaded_at, deliveries.c.source, *(deliveries.c[name] for name in _COUNTS))
        .outerjoin_from(pools, deliveries, deliveries.c.id == pools.c.delivery_id)
        .where(pools.c.id == number)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None or (source is not None and row["source"] != source):
        raise Missing("pool_unknown", f"there is no pool {number}")
    return Facts(
        groups=_groups(connection, row["campaign_id"], number, book),
        opened=frozenset(code for code, status in book.by_code.items() if status.open),
        records={name: row[name] or 0 for name in _COUNTS},
        days=(at - row["uploaded_at"]).total_seconds() / 86_400,
    )


def _groups(connection: Connection, campaign_id: int, number: int, book: StatusBook) -> dict[str, Group]:
    called = func.sum(case((table.c.attempts > 0, 1), else_=0))
    query: Any = (
        select(table.c.status_id, func.count(), called, func.sum(table.c.attempts))
        .where(table.c.campaign_id == campaign_id, table.c.pool_id == number)
        .group_by(table.c.status_id)
    )
    rows = connection.execute(query)
    return {book.by_id[row[0]].code: Group(leads=row[1], called=row[2], attempts=row[3]) for row in rows}
