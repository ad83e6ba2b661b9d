"""The ledger as operators look at it, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, update

from ingestd.model import State
from ingestd.store import deliveries, tables
from ingestd.store.deliveries import IN_PROGRESS, Counts, Wanted
from ingestd.store.engine import reading, writing

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def row(number: int, **facts: Any) -> dict[str, Any]:
    """A delivery that came `number` hours after the first one."""
    state = facts.get("state", State.COMPLETED)
    known = {
        "source": "nordlead", "login": "nordlead", "peer": "192.0.2.1", "protocol": "ftp",
        "name": f"leads-{number}.csv",
        "folder": "", "size": 10, "sha256": f"{number:064x}", "completeness": "proven", "evidence": "", "spool_key": "",
        "received_at": NOON + number * HOUR, "published_at": NOON if state.final else None, "previous_version": None,
    }  # fmt: skip
    return {**known, "state": state, **facts}


def fill(engine: Engine, *rows: dict[str, Any]) -> None:
    with writing(engine) as connection:
        connection.execute(insert(tables.deliveries), rows)


def names(connection: Connection, at: datetime = NOON + 30 * HOUR, **facts: Any) -> list[str]:
    return [each.name for each in deliveries.latest(connection, Wanted(**facts), at=at, limit=50)]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    fill(
        engine,
        row(0, state=State.FAILED, name="ancient.csv", received_at=NOON - timedelta(days=20)),
        row(1, state=State.REFUSED, name="mended.csv"),
        row(2, state=State.COMPLETED_WITH_REJECTS, name="mended.csv", previous_version=2),
        row(3, state=State.REFUSED, name="100% new_leads.csv", source="fibreweb"),
        row(4, state=State.QUEUED),
        row(5, state=State.RUNNING, source="fibreweb"),
        row(6, state=State.COMPLETED),
    )
    return engine


def test_what_was_mended_or_is_long_past_needs_no_attention(filled: Engine) -> None:
    with reading(filled) as connection:
        assert names(connection, attention=True) == ["100% new_leads.csv", "mended.csv"]
        found = deliveries.latest(connection, Wanted(attention=True), at=NOON + 30 * HOUR, limit=50)
        assert [each.state for each in found] == [State.REFUSED, State.COMPLETED_WITH_REJECTS]
        assert names(connection, attention=True, source="nordlead") == ["mended.csv"]


def test_the_three_views_are_counted(filled: Engine) -> None:
    with reading(filled) as connection:
        every = deliveries.counts(connection, at=NOON + 30 * HOUR)
        assert every == Counts(attention=2, in_progress=2, every=7)
        own = deliveries.counts(connection, at=NOON + 30 * HOUR, source="fibreweb")
        assert own == Counts(attention=1, in_progress=1, every=2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MENDED", ["mended.csv", "mended.csv"]),
        ("fibre", ["leads-5.csv", "100% new_leads.csv"]),
        ("100%", ["100% new_leads.csv"]),
        ("w_l", ["100% new_leads.csv"]),
        (f"{6:064X}", ["leads-6.csv"]),
        ("' OR 1=1 --", []),
    ],
)
def test_a_search_finds_names_sources_and_hashes(filled: Engine, text: str, found: list[str]) -> None:
    with reading(filled) as connection:
        assert names(connection, text=text) == found


def test_a_number_finds_its_delivery(filled: Engine) -> None:
    with reading(filled) as connection:
        assert "leads-6.csv" in names(connection, text="7")


def test_periods_states_and_pages(filled: Engine) -> None:
    with reading(filled) as connection:
        assert names(connection, since=NOON + 4 * HOUR) == ["leads-6.csv", "leads-5.csv", "leads-4.csv"]
        assert names(connection, states=IN_PROGRESS) == ["leads-5.csv", "leads-4.csv"]
        assert names(connection, states=[State.FAILED]) == ["ancient.csv"]
        first = deliveries.latest(connection, Wanted(), at=NOON, limit=2)
        second = deliveries.latest(connection, Wanted(), at=NOON, limit=2, before=first[-1].id)
        assert [each.id for each in first + second] == [7, 6, 5, 4]


@pytest.mark.parametrize(("hours", "first"), [(-1000, 1), (-1, 2), (1, 2), (1.5, 3), (6, 7), (7, 8)])
def test_moments_are_found_by_number(filled: Engine, hours: float, first: int) -> None:
    with reading(filled) as connection:
        assert deliveries.first_since(connection, NOON + hours * HOUR) == first


def test_an_empty_ledger_has_nothing(engine: Engine) -> None:
    with reading(engine) as connection:
        assert deliveries.counts(connection, at=NOON) == Counts(attention=0, in_progress=0, every=0)
        assert deliveries.first_since(connection, NOON) == 1
        assert deliveries.last_received(connection, "nordlead") is None


def test_the_fingerprint_changes_with_whatever_happens(filled: Engine) -> None:
    seen = set()

    def look() -> None:
        with reading(filled) as connection:
            seen.add(deliveries.fingerprint(connection))

    look()
    look()
    assert len(seen) == 1
    for change in ({"state": State.RUNNING}, {"stage": "load"}, {"epoch": 2}, {"published_at": NOON}):
        with writing(filled) as connection:
            connection.execute(update(tables.deliveries).where(tables.deliveries.c.id == 5).values(change))
        look()
    fill(filled, row(7))
    look()
    assert len(seen) == 6


def test_the_next_version_and_the_last_file(filled: Engine) -> None:
    with reading(filled) as connection:
        assert [deliveries.next_version(connection, number) for number in (2, 3)] == [3, None]
        assert deliveries.last_received(connection, "fibreweb") == NOON + 5 * HOUR


def test_very_many_are_not_counted_to_the_end(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MOST_COUNTED", 3)
    with reading(filled) as connection:
        assert deliveries.count(connection, Wanted(), at=NOON) == 4
