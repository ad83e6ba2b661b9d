"""Feeds from which a file should have come by now."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, insert, update

from ingestd.organisation import changes, silence
from ingestd.receiver import proof_rules
from ingestd.settings.sources import LARGEST_LIMIT, LONGEST_HOURS
from ingestd.store import organisation, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from tests.store.test_deliveries import row

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


def expect(engine: Engine, source: str, hours: float | None) -> None:
    with writing(engine) as connection:
        deed = Deed(actor=COMMAND_LINE, at=NOON)
        changes.edit(connection, deed, "source", source, {"expected_every_hours": hours})


def test_only_who_is_expected_and_did_not_send_is_silent(organised: Engine) -> None:
    for source, hours in (("nordlead", 26.0), ("stadtwerk", 2.0), ("fibreweb", None)):
        expect(organised, source, hours)
    with writing(organised) as connection:
        connection.execute(insert(tables.deliveries), [row(0), row(0, source="fibreweb")])
    with reading(organised) as connection:
        (one,) = silence.silent(connection, NOON + timedelta(hours=26))
        assert (one.source, one.last, one.overdue(NOON)) == ("stadtwerk", None, None)
        both = silence.silent(connection, NOON + timedelta(hours=27))
    assert [each.source for each in both] == ["stadtwerk", "nordlead"]
    assert both[1].overdue(NOON + timedelta(hours=27)) == timedelta(hours=1)


def test_hours_that_nobody_can_reckon_do_not_hide_the_others(organised: Engine) -> None:
    """They were saved before there was a bound."""
    expect(organised, "nordlead", 2.0)
    with writing(organised) as connection:
        known = changes.get(connection, "source", "stadtwerk").facts
        kept = {**known, "name": "stadtwerk", "expected_every_hours": 1e11, "limits": {"max_file_bytes": 9 * 10**18}}
        kept["proof"] = {**known["proof"], "wait_hours": 1e308}
        del kept["active"]
        its = tables.sources.c.name == "stadtwerk"
        connection.execute(update(tables.sources).where(its).values(definition=json.dumps(kept)))
    with reading(organised) as connection:
        assert {each.source for each in silence.silent(connection, NOON)} == {"nordlead", "stadtwerk"}
        feed = next(each for each in organisation.all_sources(connection) if each.name == "stadtwerk")
    assert proof_rules([feed], "stadtwerk").wait == timedelta(hours=LONGEST_HOURS)
    assert feed.limits.max_file_bytes == LARGEST_LIMIT


def test_a_source_that_is_out_of_use_is_not_missed(organised: Engine) -> None:
    expect(organised, "nordlead", 1.0)
    with writing(organised) as connection:
        changes.edit(connection, Deed(actor=COMMAND_LINE, at=NOON), "source", "nordlead", {"active": False})
    with reading(organised) as connection:
        assert silence.silent(connection, NOON) == []
