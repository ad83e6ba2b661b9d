"""Statuses: the data, what follows what, and what each does to owner, attempts and lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from ingestd.errors import Invalid, Misconfigured, Rejected
from ingestd.leads import do_not_call, history, owner_change, statuses
from ingestd.leads.lead import Lead
from ingestd.settings import Configuration, read
from ingestd.store import rules
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.leads.conftest import MINUTE, NOON, Desk
from tests.running import example_config

AGENT = "copenhagen-1"


def test_the_store_knows_the_rules_of_the_configuration(desk: Desk, example: Configuration) -> None:
    with reading(desk.engine) as connection:
        book = statuses.read(connection)
    assert len(book.by_code) == 36
    for wanted in example.statuses.status:
        kept = book.by_code[wanted.code]
        assert kept.may_become == set(example.statuses.followers(wanted))
        same = ("kind", "set_by", "counts_attempt", "takes_owner", "gives_back", "after_days", "then", "dial_order")
        assert {name: getattr(kept, name) for name in same} == {name: getattr(wanted, name) for name in same}
    assert [status.code for status in book.dialled] == [
        "lost_incoming_call", "blank_call", "incoming_call", "manual_redial_vip", "manual_redial_private",
        "manual_redial_common", "automatic_redial", "unprocessed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('then = "abandoned"', 'then = "busy"', "status.then: 'busy' does not exist"),
        ('then = "abandoned"\n', "", "after_days and then go together"),
        ('may_become = ["closed"]', 'may_become = ["shut"]', "status.may_become: 'shut' does not exist"),
        ('set_by = "system"', 'set_by = "nobody"', "found 'nobody'"),
        ('code = "expired"', 'code = "gone_by"', "a rule sets the closed status: 'expired' does not exist"),
        ("takes_owner = true", "takes_owner = true\ngives_back = true", "exclude each other"),
        ('name = "Success"', 'name = "Success"\ntakes_owner = true', "takes_owner is for open statuses only"),
    ],
)
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    config = example_config(tmp_path)
    file = config / "statuses.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(Misconfigured, match="statuses\\.toml") as refused:
        read(config)
    assert told in str(refused.value)


def test_every_pair_of_statuses_is_allowed_or_refused_as_the_data_says(desk: Desk) -> None:
    (number,) = desk.leads({})
    here = desk.lead(number)
    with reading(desk.engine) as connection:
        book = statuses.read(connection)
    allowed = 0
    for old, new, by in product(book.by_code, book.by_code, (None, 1)):
        wish = statuses.Change(to=new, by=by, at=NOON)
        may = new in book.by_code[old].may_become and (by is None or book.by_code[new].set_by == "anyone")
        here_in = _with_status(here, old)
        if may:
            assert statuses.consequences(here_in, wish, book)["status_id"] == book.by_code[new].id
            allowed += 1
            continue
        with pytest.raises(Rejected) as refused:
            statuses.consequences(here_in, wish, book)
        assert refused.value.code == "status_not_allowed"
    assert 1000 < allowed < 2 * 36 * 36


def _with_status(here: Lead, code: str) -> Lead:
    return replace(here, status=code)


@pytest.mark.parametrize("redial", ["manual_redial_private", "manual_redial_vip"])
def test_private_and_vip_make_the_editor_the_owner_and_release_gives_back(desk: Desk, redial: str) -> None:
    (number,) = desk.leads({}, owner="team:denmark")
    mine = desk.change(number, redial, AGENT)
    assert mine.owner_id == desk.owner(f"user:{AGENT}")
    assert mine.original_owner_id == desk.owner("team:denmark")
    released = desk.change(number, "manual_redial_common", AGENT)
    assert released.owner_id == released.original_owner_id == desk.owner("team:denmark")
    denmark, user = str(desk.owner("team:denmark")), str(desk.owner(f"user:{AGENT}"))
    assert [event for event in desk.told(number) if event[0] == "owner"] == [
        ("owner", denmark, user),
        ("owner", user, denmark),
    ]


def test_the_owner_may_be_retained(desk: Desk) -> None:
    (number,) = desk.leads({})
    kept = desk.change(number, "manual_redial_vip", AGENT, retain_owner=True)
    assert kept.owner_id == desk.owner("team:denmark")


def test_closing_a_private_lead_leaves_it_with_its_agent(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "manual_redial_private", AGENT)
    assert desk.change(number, "success", AGENT).owner_id == desk.owner(f"user:{AGENT}")


@pytest.mark.parametrize("after", ["not_interested", "unresolved"])
def test_what_an_agent_kept_is_given_back_by_a_later_status(desk: Desk, after: str) -> None:
    (number,) = desk.leads({}, owner="team:copenhagen")
    desk.change(number, "manual_redial_private", AGENT)
    assert desk.change(number, after, AGENT).owner_id == desk.owner(f"user:{AGENT}")
    assert desk.change(number, "automatic_redial", AGENT).owner_id == desk.owner("team:copenhagen")


def test_what_change_owner_gave_is_not_given_back_by_a_later_status(desk: Desk) -> None:
    (number,) = desk.leads({}, owner="team:copenhagen")
    desk.change(number, "manual_redial_private", AGENT)
    desk.change(number, "not_interested", AGENT)
    with reading(desk.engine) as connection:
        to = rules.owners(connection).by_name["team:aarhus"]
    owner_change.change_owner(desk.engine, owner_change.Move(to=to, by=to.id, at=NOON), [number])
    assert desk.change(number, "automatic_redial", AGENT).owner_id == to.id


@pytest.mark.parametrize("gone", [("users",), ("users", "teams")])
@pytest.mark.parametrize("how", ["released", "listed"])
def test_a_lead_of_who_has_left_is_given_back_to_the_nearest_active_team(
    desk: Desk, gone: tuple[str, ...], how: str
) -> None:
    (number,) = desk.leads({}, owner="user:aarhus-1")
    original = desk.lead(number).owner_id
    desk.change(number, "manual_redial_private", "aarhus-2")
    desk.set("users", "login", "aarhus-1", active=False)
    denmark, aarhus = desk.owner("team:denmark"), desk.owner("team:aarhus")
    if "teams" in gone:
        desk.set("teams", "key", "aarhus", active=False)
    if how == "released":
        desk.change(number, "automatic_redial", "aarhus-2")
    else:
        with writing(desk.engine) as connection:
            do_not_call.add(connection, [desk.lead(number).phone], None, Deed(actor=COMMAND_LINE, at=NOON))
    here = desk.lead(number)
    assert here.owner_id == (denmark if "teams" in gone else aarhus)
    assert here.original_owner_id == original


def test_only_calls_count_attempts(desk: Desk) -> None:
    (number,) = desk.leads({})
    edited = desk.change(number, "busy", AGENT)
    assert (edited.attempts, edited.called_at, edited.processed_by_id) == (0, None, None)
    called = desk.change(number, "no_answer", AGENT, call=True)
    assert (called.attempts, called.called_at) == (1, NOON)
    assert called.processed_by_id == desk.owner(f"user:{AGENT}")


def test_the_last_attempt_closes_an_open_lead(desk: Desk) -> None:
    last, success = desk.leads({"attempts": 7}, {"attempts": 7})
    closed = desk.change(last, "busy", AGENT, call=True)
    assert (closed.status, closed.attempts) == ("max_call_attempts", 8)
    assert [event for event in desk.told(last) if event[0] == "status"] == [
        ("status", "unprocessed", "busy"),
        ("status", "busy", "max_call_attempts"),
    ]
    assert desk.change(success, "success", AGENT, call=True).status == "success"


def test_a_change_releases_the_lock_and_sets_the_time(desk: Desk) -> None:
    agent = desk.owner(f"user:{AGENT}")
    (number,) = desk.leads({"locked_by_id": agent, "locked_until": NOON + MINUTE})
    later = NOON + timedelta(days=1)
    after = desk.change(number, "manual_redial_common", AGENT, scheduled_at=later)
    assert (after.locked_by_id, after.locked_until, after.scheduled_at, after.status_at) == (None, None, later, NOON)
    assert desk.change(number, "success", AGENT).scheduled_at is None


@pytest.mark.parametrize("call", [True, False])
def test_nobody_calls_in_the_past(desk: Desk, *, call: bool) -> None:
    (number,) = desk.leads({})
    with pytest.raises(Invalid, match="that is past"):
        desk.change(number, "automatic_redial", AGENT, call=call, scheduled_at=NOON - statuses.LATE - MINUTE)
    assert desk.lead(number).attempts == 0
    assert desk.change(number, "automatic_redial", AGENT, call=call, scheduled_at=NOON - MINUTE).scheduled_at
    assert desk.change(number, "success", AGENT, call=call, scheduled_at=NOON - timedelta(days=1)).scheduled_at is None


@pytest.mark.parametrize("redial", statuses.PROMISED)
def test_a_call_that_ends_with_a_promise_says_when(desk: Desk, redial: str) -> None:
    (number,) = desk.leads({})
    with pytest.raises(Invalid, match="say when to call again"):
        desk.change(number, redial, AGENT, call=True)
    assert desk.change(number, redial, AGENT).attempts == 0  # put right by hand, without a call
    assert desk.change(number, redial, AGENT, call=True, scheduled_at=NOON + MINUTE).attempts == 1


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+01:00", "9999-12-31T12:00:00Z"])
def test_nobody_calls_when_some_time_zone_has_no_date(desk: Desk, moment: str) -> None:
    (number,) = desk.leads({})
    with pytest.raises(Invalid, match="nobody calls at"):
        desk.change(number, "automatic_redial", AGENT, scheduled_at=datetime.fromisoformat(moment))
    assert desk.lead(number).status == "unprocessed"


def test_a_lead_that_somebody_else_holds_is_left_alone(desk: Desk) -> None:
    other = desk.owner("user:aarhus-1")
    (number,) = desk.leads({"locked_by_id": other, "locked_until": NOON + MINUTE})
    told = "is locked by user:aarhus-1 until 2026-06-15 12:01:00 UTC"
    with pytest.raises(Rejected, match=told) as refused:
        desk.change(number, "busy", AGENT)
    assert refused.value.code == "lead_locked"
    assert desk.change(number, "busy", AGENT, at=NOON + MINUTE).status == "busy"  # the lease is over


def test_an_old_version_is_refused_with_both(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "busy", AGENT, version=0)
    with pytest.raises(Rejected, match="has version 1, not 0") as refused:
        desk.change(number, "no_answer", AGENT, version=0)
    assert refused.value.code == "version_conflict"
    assert desk.lead(number).status == "busy"


def test_people_do_not_give_what_the_system_gives(desk: Desk) -> None:
    (number,) = desk.leads({})
    with pytest.raises(Rejected, match="given by imports and rules only"):
        desk.change(number, "expired", AGENT)
    assert desk.change(number, "expired", None).status == "expired"
    with pytest.raises(Rejected, match="there is no status 'sold'"):
        desk.change(number, "sold", AGENT)


def test_the_history_says_who_when_and_why(desk: Desk) -> None:
    (number,) = desk.leads({})
    desk.change(number, "not_interested", AGENT, why="has solar panels", call=True)
    here = desk.lead(number)
    with reading(desk.engine) as connection:
        events = history.history(connection, here.campaign_id, number)
    told = {event.field: (event.before, event.after) for event in events}
    assert told == {
        "attempts": ("0", "1"),
        "processed_by": (None, str(desk.owner(f"user:{AGENT}"))),
        "status": ("unprocessed", "not_interested"),
    }
    facts = {(event.version, event.kind, event.at, event.by, event.why) for event in events}
    assert facts == {(1, "call", NOON, desk.owner(f"user:{AGENT}"), "has solar panels")}
