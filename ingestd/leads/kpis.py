"""The figures that an operator may add to a lead pool (LEADS.md, "Lead pools"), as data.

`count:<status>` and `share:<status>` are there for every status, and `first:<status>` for leads that ever came into it;
the others are in KPIS. All but `first` are answered by the counts of pool and delivery, without reading a lead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, exists, func, or_, select

from ingestd.errors import Invalid, Missing
from ingestd.leads import statuses
from ingestd.leads.statuses import Status, StatusBook
from ingestd.store import pool_counts
from ingestd.store.lead_tables import lead_events
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
    results: Mapping[str, int]
    """status code → leads that were called, by the last status that people gave"""
    anonymised: Mapping[str, int]
    """code of a closed status → anonymised leads that had it before"""
    records: Mapping[str, int]
    """the counts of the delivery; empty when the leads came otherwise"""
    days: float
    """since the upload"""
    first: Mapping[str, int] = field(default_factory=dict)
    """status code → leads that have it or had it once; of the statuses that were asked for"""

    def count(self, of: str, codes: Iterable[str] | None = None) -> int:
        """The sum of `leads`, `called` or `attempts` over these statuses; None: over all."""
        chosen = self.groups if codes is None else self.groups.keys() & set(codes)
        return sum(getattr(self.groups[code], of) for code in chosen)

    def having(self, code: str) -> int:
        """The leads that have a status, or had it as their result when they were anonymised."""
        return self.count("leads", [code]) + self.anonymised.get(code, 0)

    def ended(self, *codes: str) -> Figure:
        """The leads whose last status by people is one of these, in percent of those that were called."""
        return _share(sum(self.results.get(code, 0) for code in codes), self.count("called"))


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
         lambda facts: facts.ended(*REACHED)),
        ("success_rate", "percent", "leads with Success, of those that were called",
         lambda facts: facts.ended("success")),
        ("average_attempts", "attempts", "attempts for each lead that was called", _average),
        ("age", "days", "since the upload", lambda facts: round(facts.days, 1)),
    )
)  # fmt: skip


def known(connection: Connection) -> list[Kpi]:
    """Every figure that there is."""
    book = statuses.read(connection)
    kinds = ("count", "share", "first")
    return [*KPIS, *(_known(f"{kind}:{code}", book) for kind in kinds for code in book.by_code)]


def named(connection: Connection, names: Iterable[str]) -> list[Kpi]:
    """The figures of these names; raises Invalid for a name that is none."""
    book = statuses.read(connection)
    return [_known(name, book) for name in names]


def measured(
    connection: Connection, number: int, names: Iterable[str], at: datetime, *, source: str | None = None
) -> list[tuple[Kpi, Figure]]:
    """Figures of a pool in the order of their names; none named: all of KPIS.

    With `source` a pool of its deliveries only. Raises Missing, or Invalid for a name that is none.
    """
    found = measured_all(connection, [number], list(names) or [kpi.name for kpi in KPIS], at, source=source)
    if number not in found:
        raise Missing("pool_unknown", f"there is no pool {number}")
    return found[number]


def measured_all(
    connection: Connection, numbers: Iterable[int], names: Iterable[str], at: datetime, *, source: str | None = None
) -> dict[int, list[tuple[Kpi, Figure]]]:
    """The same figures of many pools, by their number; pools that are not there are left out."""
    book, wanted = statuses.read(connection), named(connection, names)
    first = [kpi.name.removeprefix("first:") for kpi in wanted if kpi.name.startswith("first:")]
    facts = _facts(connection, list(numbers), book, at, source)
    for number, its in facts.items():
        facts[number] = replace(its, first={code: _ever(connection, number, book.by_code[code]) for code in first})
    return {number: [(kpi, kpi.figure(its)) for kpi in wanted] for number, its in facts.items()}


def by_status(connection: Connection, number: int) -> list[tuple[Status, Group]]:
    """The leads of a pool by their status, open ones first; a status that none of them has is left out."""
    book = statuses.read(connection)
    found = _by_status(pool_counts.of_pools(connection, [number])[number], book)
    return [(status, found[code]) for code, status in book.by_code.items() if code in found and found[code].leads]


def _known(name: str, book: StatusBook) -> Kpi:
    kind, _, code = name.partition(":")
    if kind in _OF_STATUS and code in book.by_code:
        unit, said, figure = _OF_STATUS[kind]
        return Kpi(name=name, unit=unit, meaning=f"{book.by_code[code].name}{said}", figure=partial(figure, code))
    for kpi in KPIS:
        if kpi.name == name:
            return kpi
    told = ", ".join([*(kpi.name for kpi in KPIS), *(f"{kind}:<status>" for kind in _OF_STATUS)])
    raise Invalid("kpi_unknown", f"{name!r} is no figure; use one of {told}", field="kpi")


def _share_of(code: str, facts: Facts) -> Figure:
    return _share(facts.having(code), facts.count("leads"))


_OF_STATUS: Mapping[str, tuple[str, str, Callable[[str, Facts], Figure]]] = {
    "count": ("leads", "", lambda code, facts: facts.having(code)),
    "share": ("percent", ", of all leads", _share_of),
    "first": ("leads", ", now or once", lambda code, facts: facts.first[code]),
}


_COUNTS = ("records", "inserted", "updated", "unchanged", "rejected")


def _facts(
    connection: Connection, numbers: list[int], book: StatusBook, at: datetime, source: str | None
) -> dict[int, Facts]:
    query = (
        select(pools.c.id, pools.c.uploaded_at, *(deliveries.c[name] for name in _COUNTS))
        .outerjoin_from(pools, deliveries, deliveries.c.id == pools.c.delivery_id)
        .where(pools.c.id.in_(numbers))
    )
    if source is not None:
        query = query.where(deliveries.c.source == source)
    groups = pool_counts.of_pools(connection, numbers)
    return {
        row["id"]: Facts(
            groups=_by_status(groups[row["id"]], book),
            opened=frozenset(code for code, status in book.by_code.items() if status.open),
            results=_results(groups[row["id"]], book),
            anonymised=_anonymised(groups[row["id"]], book),
            records={name: row[name] or 0 for name in _COUNTS},
            days=(at - row["uploaded_at"]).total_seconds() / 86_400,
        )
        for row in connection.execute(query).mappings()
    }


def _by_status(groups: Iterable[pool_counts.Group], book: StatusBook) -> dict[str, Group]:
    found: dict[str, Group] = {}
    for group in groups:
        code = book.by_id[group.status_id].code
        sofar = found.get(code, Group())
        found[code] = Group(
            leads=sofar.leads + group.leads,
            called=sofar.called + (group.leads if group.called else 0),
            attempts=sofar.attempts + group.attempts,
        )
    return found


def _results(groups: Iterable[pool_counts.Group], book: StatusBook) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for group in groups:
        if group.called:
            found[book.by_id[group.result_id or group.status_id].code] += group.leads
    return found


def _anonymised(groups: Iterable[pool_counts.Group], book: StatusBook) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for group in groups:
        before = None if group.result_id is None else book.by_id[group.result_id]
        if before is not None and not before.open and book.by_id[group.status_id].code == statuses.ANONYMISED:
            found[before.code] += group.leads
    return found


def _ever(connection: Connection, number: int, status: Status) -> int:
    """Leads of a pool that have the status or had it once, each counted one time."""
    its = (lead_events.c.campaign_id == table.c.campaign_id, lead_events.c.lead_id == table.c.id)
    told = or_(lead_events.c.after == status.code, lead_events.c.before == status.code)
    once = exists().where(*its, lead_events.c.field == "status", told)
    campaign = select(pools.c.campaign_id).where(pools.c.id == number).scalar_subquery()
    mine = (table.c.campaign_id == campaign, table.c.pool_id == number)
    counted = select(func.count()).select_from(table).where(*mine, or_(table.c.status_id == status.id, once))
    return connection.scalar(counted) or 0
