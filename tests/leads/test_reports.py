"""Reports say what a recount by hand says, and to nobody more than they may see."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingestd.access.permissions import Permission
from ingestd.errors import Invalid, Rejected
from ingestd.leads import agents, reports, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.kpis import REACHED
from ingestd.leads.reports import By, Every, Row, Wish
from ingestd.store.engine import reading
from tests.leads.conftest import NOON, Desk

USERS = {"copenhagen-1": "copenhagen", "berlin-1": "berlin", "lead-denmark": "denmark"}
ZONE = "Europe/Copenhagen"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deed:
    """One change, as the test made it."""

    at: datetime
    lead: int
    login: str
    call: bool
    before: str
    after: str
    attempts: int


def made(desk: Desk) -> tuple[dict[int, tuple[str, int]], list[Deed]]:
    """Leads of two campaigns that were worked with at random: campaign and pool of each, and what was done."""
    chance = random.Random(11)
    leads: dict[int, tuple[str, int]] = {}
    for campaign, owner in (
        ("DK-ENERGY", "team:denmark"),
        ("DE-ENERGY", "team:berlin"),
        ("DK-ENERGY", "user:berlin-1"),
    ):
        numbers = desk.leads(*({} for _ in range(8)), campaign=campaign, owner=owner)
        leads |= {number: (campaign, desk.lead(number).pool_id) for number in numbers}
    deeds = []
    with reading(desk.engine) as connection:
        book = statuses.read(connection)
    for minute in range(120):
        number, login = chance.choice(sorted(leads)), chance.choice(sorted(USERS))
        here, at = desk.lead(number), NOON + timedelta(minutes=minute * 331)
        allowed = [
            code for code in sorted(book.by_code[here.status].may_become) if book.by_code[code].set_by != "system"
        ]
        if not allowed:
            continue
        call = chance.random() < 0.7
        wanted = chance.choice(allowed)
        later = at + timedelta(hours=1) if wanted in statuses.PROMISED else None
        try:
            after = desk.change(number, wanted, login, at=at, call=call, scheduled_at=later)
        except Rejected:
            continue
        counted = after.attempts - here.attempts
        its: dict[str, Any] = {"at": at, "lead": number}
        deeds.append(Deed(**its, login=login, call=call, before=here.status, after=wanted, attempts=counted))
        if after.status != wanted:  # the limit of attempts
            deeds.append(Deed(**its, login="", call=False, before=wanted, after=after.status, attempts=0))
    assert len(deeds) > 60
    return leads, deeds


def recounted(
    leads: dict[int, tuple[str, int]], deeds: list[Deed], by: By, opened: set[str]
) -> dict[Any, Counter[str]]:
    """The same by hand: day and key → figures."""
    found: dict[Any, Counter[str]] = {}
    for deed in deeds:
        campaign, pool = leads[deed.lead]
        keys = {"campaign": campaign, "pool": str(pool), "user": deed.login or reports.RULES}
        keys["team"] = USERS.get(deed.login, reports.RULES)
        here = found.setdefault((deed.at.astimezone(ZoneInfo(ZONE)).date(), keys[by]), Counter())
        here["calls"] += deed.call
        here["attempts"] += deed.attempts
        here["contacts"] += deed.call and deed.after in REACHED
        if deed.after != deed.before:
            here[f"status:{deed.after}"] += 1
            here["successes"] += deed.after == "success"
            here["closed"] += deed.before in opened and deed.after not in opened
    return {key: +counts for key, counts in found.items() if +counts}


def reported(desk: Desk, by: By, every: Every = "day", who: Agent | None = None, **facts: Any) -> list[Row]:
    given = {"start": date(2026, 6, 1), "end": date(2026, 8, 31), "timezone": ZONE, **facts}
    with reading(desk.engine) as connection:
        return reports.report(connection, Wish(by=by, every=every, **given), who)


def figures(row: Row) -> Counter[str]:
    names = ("calls", "attempts", "contacts", "successes", "closed")
    counts = Counter({name: getattr(row, name) for name in names})
    return +(counts + Counter({f"status:{code}": count for code, count in row.statuses.items()}))


def summed(rows: list[Row]) -> Counter[str]:
    return sum((figures(row) for row in rows), Counter())


def test_reports_say_what_a_recount_says(desk: Desk) -> None:
    leads, deeds = made(desk)
    with reading(desk.engine) as connection:
        opened = {status.code for status in statuses.read(connection).by_code.values() if status.open}
    kinds: tuple[By, ...] = ("campaign", "pool", "user", "team")
    for by in kinds:
        told = {(row.period, row.key): figures(row) for row in reported(desk, by) if figures(row)}
        assert told == recounted(leads, deeds, by, opened), by
    whole = summed(reported(desk, "campaign"))
    spans: tuple[Every, ...] = ("week", "month")
    for every in spans:
        rows = reported(desk, "campaign", every)
        assert summed(rows) == whole
        assert {row.period.weekday() if every == "week" else row.period.day - 1 for row in rows} == {0}


def test_leads_that_came_are_counted_for_their_first_owner(desk: Desk) -> None:
    made(desk)
    by_campaign = {row.key: row.uploaded for row in reported(desk, "campaign", "month") if row.uploaded}
    assert by_campaign == {"DK-ENERGY": 16, "DE-ENERGY": 8}
    assert [row.uploaded for row in reported(desk, "pool", "month") if row.uploaded] == [8, 8, 8]
    by_user = {row.key: row.uploaded for row in reported(desk, "user", "month") if row.uploaded}
    assert by_user == {"team:denmark": 8, "team:berlin": 8, "berlin-1": 8}
    by_team = {row.key: row.uploaded for row in reported(desk, "team", "month") if row.uploaded}
    assert by_team == {"denmark": 8, "berlin": 16}


def test_without_extended_insights_only_the_own_team_is_counted(desk: Desk) -> None:
    made(desk)
    agent, leader, admin = (desk.agent(login) for login in ("berlin-1", "lead-denmark", "admin"))
    assert {row.key for row in reported(desk, "user", "month", agent)} == {"berlin-1", "team:berlin"}
    assert {row.key for row in reported(desk, "user", "month", leader)} == {
        "copenhagen-1",
        "lead-denmark",
        "team:denmark",
    }
    assert reported(desk, "user", "month", admin) == reported(desk, "user", "month")
    far = desk.agent("berlin-1", Permission.EXTENDED_INSIGHTS)
    assert reported(desk, "pool", "month", far) == reported(desk, "pool", "month")
    mine = summed(reported(desk, "campaign", "month", agent))
    assert mine == summed([row for row in reported(desk, "user", "month") if row.key == "berlin-1"])


def test_what_a_rule_did_is_nobodys(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "expired", None)
    (row,) = [row for row in reported(desk, "user") if row.closed]
    assert (row.key, row.closed, row.statuses) == (reports.RULES, 1, {"expired": 1})
    with reading(desk.engine) as connection:
        agent = agents.agent(connection, "berlin-1")
    assert reported(desk, "user", "day", agent) == []


def test_the_rates_are_of_calls(desk: Desk) -> None:
    first, second, third = desk.leads({}, {}, {})
    desk.change(first, "success", call=True)
    desk.change(second, "busy", call=True)
    desk.change(third, "success")  # without a call
    (row,) = [row for row in reported(desk, "user") if row.calls]
    assert (row.calls, row.contacts, row.contact_rate, row.successes, row.success_rate) == (2, 1, 50.0, 2, 50.0)


def test_days_are_those_of_the_time_zone(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "busy", at=datetime(2026, 6, 30, 22, 30, tzinfo=UTC), call=True)
    (row,) = [row for row in reported(desk, "user") if row.calls]
    assert row.period == date(2026, 7, 1)
    assert [each for each in reported(desk, "user", end=date(2026, 6, 30)) if each.calls] == []


def test_a_table_runs_nothing_in_a_spreadsheet() -> None:
    row = Row(period=date(2026, 6, 1), key="1", name="=cmd|' /C calc'!A0", calls=2, statuses={"busy": 2})
    told = reports.as_csv([row], "pool").decode().splitlines()
    assert told[0].endswith("success_rate,closed,status:busy")
    assert told[1] == "2026-06-01,1,'=cmd|' /C calc'!A0,0,2,0,0,0.0,0,0.0,0,2"
    assert reports.as_csv([], "team").decode().startswith("period,team,name,uploaded")


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"start": date(2026, 6, 2), "end": date(2026, 6, 1)}, "period_unusable"),
        ({"start": date(2020, 1, 1), "end": date(2026, 6, 1)}, "period_unusable"),
        ({"start": date(9999, 12, 30), "end": date(9999, 12, 31)}, "period_unusable"),
        ({"timezone": "Middle/Earth"}, "value_unusable"),
        ({"timezone": "../etc/passwd"}, "value_unusable"),
    ],
)
def test_what_is_no_period_is_refused(desk: Desk, facts: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as caught:
        reported(desk, "campaign", **facts)
    assert caught.value.code == code
    first: dict[str, Any] = {"start": date(1, 1, 1), "end": date(1, 1, 3), "timezone": "UTC"}
    assert reported(desk, "campaign", "week", **first) == []
