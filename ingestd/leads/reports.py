"""Reports: what came, what was called and what became of it, by day, week or month.

All of it is counted from the leads and their history when it is asked for. Of what others did, a user without Extended
Insights sees only the own team's, and a team leader also that of the teams below (LEADS.md, "Who may call a lead").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from sqlalchemy import ColumnElement, Connection, Text, and_, case, cast, func, literal, or_, select, true

from ingestd.access.permissions import Permission, Role
from ingestd.errors import Invalid
from ingestd.ingest import poollog
from ingestd.leads import agents, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.kpis import REACHED
from ingestd.leads.statuses import StatusBook
from ingestd.store import tables
from ingestd.store.lead_tables import lead_events

By = Literal["campaign", "pool", "team", "user"]
Every = Literal["day", "week", "month"]

MOST_PERIODS = 400
"""Days, weeks or months of one report; a year of days."""
RULES = "(rules)"
"""The key of what nobody did: a rule of time, a do-not-call list from the command line."""

_event, _lead, _pool = lead_events.c, tables.leads.c, tables.pools.c


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a report is to show."""

    by: By
    start: date
    """its first day"""
    end: date
    """its last day"""
    every: Every
    timezone: str = "UTC"
    """whose days they are, such as `Europe/Copenhagen`"""


@dataclass(kw_only=True)
class Row:
    """The figures of one campaign, pool, team or user in one period."""

    period: date
    """its first day, also when the report begins within it"""
    key: str
    """code of the campaign, number of the pool, key of the team or login of the user; RULES"""
    name: str
    uploaded: int = 0
    """leads that came; by team and user: those whose first owner it was"""
    calls: int = 0
    """calls that ended"""
    attempts: int = 0
    """those of them that count against the campaign's limit"""
    contacts: int = 0
    """calls after which the lead had a status that says that somebody spoke"""
    won: int = 0
    """calls after which the lead was Success"""
    successes: int = 0
    """leads that became Success, by a call or without"""
    closed: int = 0
    """open leads that were closed"""
    statuses: dict[str, int] = field(default_factory=dict)
    """status → how often a lead got it"""

    @property
    def contact_rate(self) -> float | None:
        """Percent of the calls; None without calls."""
        return round(100 * self.contacts / self.calls, 1) if self.calls else None

    @property
    def success_rate(self) -> float | None:
        """Percent of the calls after which the lead was Success; None without calls."""
        return round(100 * self.won / self.calls, 1) if self.calls else None


FIGURES = ("uploaded", "calls", "attempts", "contacts", "contact_rate", "successes", "success_rate", "closed")


@dataclass(frozen=True, kw_only=True)
class _Scope:
    """Whose doings are counted; None: everybody's."""

    users: frozenset[int] | None = None
    owners: frozenset[int] | None = None

    def did(self, by: ColumnElement[Any]) -> ColumnElement[bool]:
        return true() if self.users is None else by.in_(self.users)

    def owns(self, owner: ColumnElement[Any]) -> ColumnElement[bool]:
        return true() if self.owners is None else owner.in_(self.owners)


def report(connection: Connection, wish: Wish, who: Agent | None) -> list[Row]:
    """Every row with anything in it, by period and key; `who` None: whoever sees everything. Raises Invalid."""
    starts = periods(wish)
    bounds = _bounds(wish, starts)
    book, scope = statuses.read(connection), _scope(connection, who)
    made = _Rows(starts=starts, names=_names(connection, wish.by))
    sources = (
        _uploads(wish.by, bounds, scope),
        _changes(wish.by, bounds, scope, book),
        _calls(wish.by, bounds, scope),
    )
    for source in sources:
        for row in connection.execute(source).mappings():
            made.count(row)
    return made.sorted()


def periods(wish: Wish) -> list[date]:
    """The first day of every period that the report touches. Pure; raises Invalid."""
    if wish.end < wish.start:
        raise Invalid("period_unusable", f"{wish.end} is before {wish.start}", field="to")
    found = [_first_day(wish.start, wish.every)]
    while (following := _following(found[-1], wish.every)) <= wish.end:
        found.append(following)
        if len(found) > MOST_PERIODS:
            told = f"that are more than {MOST_PERIODS} {wish.every}s; ask for less at once, or for longer periods"
            raise Invalid("period_unusable", told, field="to")
    return found


def as_csv(rows: Iterable[Row], by: By) -> bytes:
    """The rows as a table, one column a status; texts that a spreadsheet would run as a formula begin with `'`."""
    told = list(rows)
    codes = sorted({code for row in told for code in row.statuses})
    columns: dict[str, pl.Series] = {
        "period": pl.Series([row.period.isoformat() for row in told], dtype=pl.String),
        by: pl.Series([row.key for row in told], dtype=pl.String),
        "name": pl.Series([row.name for row in told], dtype=pl.String),
    }
    for name in FIGURES:
        kind = pl.Float64 if name.endswith("rate") else pl.Int64
        columns[name] = pl.Series([getattr(row, name) for row in told], dtype=kind)
    columns |= {f"status:{code}": pl.Series([row.statuses.get(code, 0) for row in told]) for code in codes}
    return poollog.defused(pl.DataFrame(columns)).write_csv(line_terminator="\r\n").encode()


def _first_day(day: date, every: Every) -> date:
    if every == "week":  # ISO 8601: from Monday
        return day - timedelta(days=min(day.weekday(), (day - date.min).days))
    return day.replace(day=1) if every == "month" else day


def _following(day: date, every: Every) -> date:
    try:
        if every == "month":
            return (day + timedelta(days=31)).replace(day=1)
        return day + timedelta(days=7 if every == "week" else 1)
    except OverflowError:
        raise Invalid("period_unusable", "the calendar ends there", field="to") from None


def _bounds(wish: Wish, starts: Sequence[date]) -> list[datetime]:
    """The moment at which each period begins, and the one at which the last ends; only days of the report count."""
    try:
        zone = ZoneInfo(wish.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        told = f"there is no time zone {wish.timezone!r}; write it like Europe/Copenhagen"
        raise Invalid("value_unusable", told, field="timezone") from None
    days = [max(wish.start, starts[0]), *starts[1:]]
    try:
        days.append(wish.end + timedelta(days=1))
        return [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
    except OverflowError:
        raise Invalid("period_unusable", "the calendar ends there", field="to") from None


def _scope(connection: Connection, who: Agent | None) -> _Scope:
    if who is None or Permission.EXTENDED_INSIGHTS in who.permissions:
        return _Scope()
    own = who.teams[0]
    teams = agents.below(connection, own) if who.role == Role.TEAM_LEADER else frozenset({own})
    user = tables.users.c
    users = frozenset(connection.scalars(select(user.id).where(user.team_id.in_(teams))))
    return _Scope(users=users, owners=users | teams)


def _period(at: ColumnElement[datetime], bounds: Sequence[datetime]) -> ColumnElement[int]:
    """The place of a moment among the periods."""
    found: ColumnElement[int] = case(*((at < end, place) for place, end in enumerate(bounds[1:])), else_=-1)
    return found.label("place")


def _within(at: ColumnElement[datetime], bounds: Sequence[datetime]) -> ColumnElement[bool]:
    return and_(at >= bounds[0], at < bounds[-1])


def _key(by: By, whose: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a row is of: a campaign or pool by number, a user, or the team of a user."""
    if by == "team":
        user = tables.users.c
        return func.coalesce(select(user.team_id).where(user.id == whose).scalar_subquery(), whose)
    return whose


def _uploads(by: By, bounds: Sequence[datetime], scope: _Scope) -> Any:
    owner = func.coalesce(_lead.original_owner_id, _lead.owner_id)
    whose = {"campaign": _pool.campaign_id, "pool": _pool.id}.get(by, owner)
    key, place = _key(by, whose).label("key"), _period(_pool.uploaded_at, bounds)
    its = and_(_lead.campaign_id == _pool.campaign_id, _lead.pool_id == _pool.id)
    query = select(place, key, literal("uploaded").label("figure"), func.count().label("count"))
    query = query.join_from(tables.pools, tables.leads, its)
    return query.where(_within(_pool.uploaded_at, bounds), scope.owns(owner)).group_by(place, key)


def _of_event(by: By, columns: Any) -> ColumnElement[Any]:
    """What a row of the history belongs to."""
    if by == "pool":
        its = (_lead.campaign_id == columns.campaign_id, _lead.id == columns.lead_id)
        return select(_lead.pool_id).where(*its).scalar_subquery()
    return _key(by, columns.campaign_id if by == "campaign" else columns.by_id)


def _changes(by: By, bounds: Sequence[datetime], scope: _Scope, book: StatusBook) -> Any:
    """How often leads got each status, and whether that closed them; and the counted attempts."""
    closed = {status.code for status in book.by_code.values() if not status.open}
    closing = and_(_event.after.in_(closed), _event.before.not_in(closed))
    figure = case(
        (_event.field == "attempts", literal("attempts")),
        (closing, literal("closed:") + _event.after),
        else_=literal("status:") + _event.after,
    )
    given = and_(_event.field == "status", _event.before.is_not(None))  # not the one that it was made with
    counted = or_(given, and_(_event.field == "attempts", _event.kind == "call"))
    events = (
        select(_event.at, cast(figure, Text).label("figure"), _of_event(by, _event).label("key"))
        .where(_within(_event.at, bounds), counted, scope.did(_event.by_id))
        .subquery("events")
    )
    place = _period(events.c.at, bounds)
    query = select(place, events.c.key, events.c.figure, func.count().label("count"))
    return query.group_by(place, events.c.key, events.c.figure)


def _calls(by: By, bounds: Sequence[datetime], scope: _Scope) -> Any:
    """Calls, each once however many fields it touched, with the status that the lead had after it."""
    own = ("campaign_id", "lead_id", "version", "at", "by_id")
    calls = (
        select(*(_event[name] for name in own))
        .where(_within(_event.at, bounds), _event.kind == "call", scope.did(_event.by_id))
        .distinct()
        .subquery("calls")
    )
    then = lead_events.alias("then").c
    after = (
        select(then.after)
        .where(
            then.campaign_id == calls.c.campaign_id,
            then.lead_id == calls.c.lead_id,
            then.version <= calls.c.version,
            then.field == "status",
        )
        .order_by(then.version.desc())
        .limit(1)
        .scalar_subquery()
    )
    figure = case((after == "success", "won"), (after.in_(REACHED), "contacts"), else_="calls")
    ended = select(calls.c.at, figure.label("figure"), _of_event(by, calls.c).label("key")).subquery("ended")
    place = _period(ended.c.at, bounds)
    query = select(place, ended.c.key, ended.c.figure, func.count().label("count"))
    return query.group_by(place, ended.c.key, ended.c.figure)


def _names(connection: Connection, by: By) -> dict[int, tuple[str, str]]:
    """Key and name of everything that a row may be of, by number."""
    columns = {
        "campaign": (tables.campaigns.c.id, tables.campaigns.c.code, tables.campaigns.c.name),
        "pool": (_pool.id, cast(_pool.id, Text), _pool.name),
        "team": (tables.teams.c.id, tables.teams.c.key, tables.teams.c.name),
        "user": (tables.users.c.id, tables.users.c.login, tables.users.c.name),
    }[by]
    found = {row[0]: (row[1], row[2]) for row in connection.execute(select(*columns))}
    if by == "user":  # leads that came for a whole team
        team = tables.teams.c
        teams = connection.execute(select(team.id, team.key, team.name))
        found |= {row[0]: (f"team:{row[1]}", row[2]) for row in teams}
    return found


_COUNTS_AS = {"won": ("won", "contacts", "calls"), "contacts": ("contacts", "calls")}
"""A call that says more is one of the others too."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The rows as they fill up."""

    starts: Sequence[date]
    names: dict[int, tuple[str, str]]
    made: dict[tuple[int, int | None], Row] = field(default_factory=dict)

    def count(self, found: Any) -> None:
        row, count = self._row(found["place"], found["key"]), found["count"]
        kind, _, code = found["figure"].partition(":")
        if code:
            row.statuses[code] = row.statuses.get(code, 0) + count
            row.successes += count if code == "success" else 0
            row.closed += count if kind == "closed" else 0
            return
        for name in _COUNTS_AS.get(kind, (kind,)):
            setattr(row, name, getattr(row, name) + count)

    def _row(self, place: int, number: int | None) -> Row:
        if (place, number) not in self.made:
            key, name = self.names.get(number or 0, (RULES, "rules of time, lists and keys"))
            self.made[place, number] = Row(period=self.starts[place], key=key, name=name)
        return self.made[place, number]

    def sorted(self) -> list[Row]:
        return sorted(self.made.values(), key=lambda row: (row.period, row.key.zfill(20)))
