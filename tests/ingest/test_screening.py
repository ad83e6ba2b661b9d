"""Screening on both databases: listed numbers, records that are there already, and updates that say something new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from ingestd import schemas
from ingestd.ingest import comparing, load, screening, updates
from ingestd.ingest.screening import Screened
from ingestd.ingest.updates import Bringing
from ingestd.leads import ending
from ingestd.model import CampaignRules
from ingestd.store import fences, loading, rules, tables
from ingestd.store.engine import open_engine
from tests import databases

ANNA, BO, CARL = "+4526000001", "+4526000002", "+4526000003"


NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database of each kind for the whole module: every test rolls back what it did."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database(request.getfixturevalue("furnished_with_owners"))
    else:
        url = databases.embedded(tmp_path_factory.mktemp("screening"), organised=True)
    engine = open_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(shared: Engine) -> Iterator[Connection]:
    """A transaction that is rolled back in the end."""
    with shared.connect() as opened, opened.begin() as transaction:
        yield opened
        transaction.rollback()


def campaign_of(connection: Connection, **changes: str) -> CampaignRules:
    with_rules = rules.campaign(connection, "DK-ENERGY")
    return CampaignRules(**{**{name: getattr(with_rules, name) for name in with_rules.__dataclass_fields__}, **changes})


def bringing(connection: Connection) -> Bringing:
    return Bringing(
        campaign_id=campaign_of(connection).id,
        schema=schemas.read(databases.ROOT / "schemas", None),
        at=NOON,
        why="delivery 7",
        close=ending.close_listed,
    )


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    """Checked records: every field that one of them names, with owner 1 and a valid phone."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {"date_of_birth": pl.Date, "priority": pl.Int64, "invalid_phone": pl.Boolean}
    frame = pl.DataFrame(
        [[row.get(name) for name in names] for row in rows],
        schema={name: kinds.get(name, pl.String) for name in names},
        orient="row",
    )
    if "invalid_phone" not in names:
        frame = frame.with_columns(pl.lit(value=False).alias("invalid_phone"))
    numbers = pl.Series("row", range(1, len(rows) + 1), dtype=pl.UInt32)
    return frame.with_columns(numbers, pl.lit(1, dtype=pl.Int64).alias("owner_id"))


def there(connection: Connection, *rows: dict[str, Any], first: int = 100) -> None:
    """Leads that the campaign has already, with other owners and statuses than an import gives."""
    campaign = campaign_of(connection)
    target = load.Target(campaign_id=campaign.id, pool_id=1, statuses={"success": 15})
    new = records(*rows).with_columns(pl.lit("success").alias("status"), pl.lit(2, dtype=pl.Int64).alias("owner_id"))
    loading.insert_leads(connection, load.lead_frame(load.number(new, first), target))


def screened(connection: Connection, *rows: dict[str, Any], **changes: str) -> Screened:
    return screening.screen(connection, records(*rows), campaign_of(connection, **changes), "Tlf")


def settled(result: Screened) -> list[tuple[int, str, int | None]]:
    return result.settled.sort("row").rows()


def told(result: Screened) -> list[tuple[int, str, str]]:
    return result.problems.select("row", "code", "severity").rows()


class TestDuplicates:
    @pytest.mark.parametrize("rule", ["reject", "update"])
    def test_of_a_number_twice_in_the_file_the_first_record_goes_on(self, connection: Connection, rule: str) -> None:
        result = screened(
            connection, {"phone": ANNA}, {"phone": BO}, {"phone": ANNA}, {"phone": ANNA}, on_duplicate=rule
        )
        assert result.new["row"].to_list() == [1, 2]
        assert settled(result) == [(3, "duplicate", None), (4, "duplicate", None)]
        assert told(result) == [(3, "duplicate_in_file", "error"), (4, "duplicate_in_file", "error")]
        problem = result.problems.row(0, named=True)
        assert problem["message"] == "the same number as row 1 of this file"
        assert (problem["column"], problem["field"], problem["value"]) == ("Tlf", "phone", ANNA)

    def test_a_campaign_that_rejects_names_the_lead_that_is_there(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA})
        result = screened(connection, {"phone": BO}, {"phone": ANNA}, {"phone": ANNA}, on_duplicate="reject")
        assert result.new["row"].to_list() == [1]
        assert settled(result) == [(2, "duplicate", 100), (3, "duplicate", None)]
        assert told(result) == [(2, "duplicate_in_campaign", "error"), (3, "duplicate_in_file", "error")]
        assert "DK-ENERGY has this number already, as lead 100" in result.problems["message"][0]

    def test_a_campaign_that_keeps_takes_everything(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA})
        result = screened(connection, {"phone": ANNA}, {"phone": ANNA}, on_duplicate="keep")
        assert result.new["row"].to_list() == [1, 2]
        assert (settled(result), told(result), result.updates.height) == ([], [], 0)

    def test_an_update_says_what_is_new_and_keeps_what_is_not_said(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA, "city": "Odense", "priority": 5, "date_of_birth": date(1980, 1, 2)})
        result = screened(
            connection, {"phone": ANNA, "city": None, "priority": 7, "first_name": "Anna"}, on_duplicate="update"
        )
        (update,) = result.updates.to_dicts()
        assert (update["id"], update["row"], update["priority"]) == (100, 1, 7)
        assert (update["city"], update["first_name"]) == ("Odense", "Anna")
        assert (result.new.height, settled(result), told(result)) == (0, [], [])

    def test_nothing_new_is_unchanged_and_names_its_lead(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA, "city": "Odense", "priority": 5, "date_of_birth": date(1980, 1, 2)})
        result = screened(
            connection,
            {"phone": ANNA, "city": "Odense", "priority": None, "date_of_birth": date(1980, 1, 2), "comments": None},
            {"phone": BO},
            on_duplicate="update",
        )
        assert settled(result) == [(1, "unchanged", 100)]
        assert (result.updates.height, result.new["row"].to_list()) == (0, [2])

    def test_a_record_of_nothing_but_a_phone_is_unchanged(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA, "city": "Odense"})
        assert settled(screened(connection, {"phone": ANNA}, on_duplicate="update")) == [(1, "unchanged", 100)]

    def test_the_templates_fields_are_merged_one_by_one(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA, "extra": '{"supplier":"A","kwh":5,"end":null}'}, {"phone": CARL})
        result = screened(
            connection,
            {"phone": ANNA, "extra": '{"supplier":null,"kwh":6,"end":"2027-01-31"}'},
            {"phone": CARL, "extra": '{"kwh":1}'},
            on_duplicate="update",
        )
        extras = [json.loads(text) for text in result.updates["extra"]]
        assert extras == [{"supplier": "A", "kwh": 6, "end": "2027-01-31"}, {"kwh": 1}]

    @pytest.mark.parametrize("extra", [None, '{"kwh":5}', '{"kwh":null,"supplier":null}', '{"supplier":"Ø","kwh":5}'])
    def test_the_same_fields_again_are_unchanged(self, connection: Connection, extra: str | None) -> None:
        there(connection, {"phone": ANNA, "extra": '{"kwh":5,"supplier":"Ø"}'})
        result = screened(connection, {"phone": ANNA, "extra": extra}, on_duplicate="update")
        assert settled(result) == [(1, "unchanged", 100)]

    def test_an_update_never_touches_owner_status_code_or_place(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA, "ownership_code": "DK-CPH", "city": "Odense"})
        before = connection.execute(select(tables.leads)).mappings().one()
        result = screened(
            connection, {"phone": ANNA, "ownership_code": "DK-AAR", "city": "Aarhus"}, on_duplicate="update"
        )
        updates.write(connection, result.updates, bringing(connection))
        after = connection.execute(select(tables.leads)).mappings().one()
        changed = {"city": "Aarhus", "version": before["version"] + 1, "modified_at": NOON}
        assert dict(after) == {**before, **changed}

    def test_another_code_alone_is_no_change(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA, "ownership_code": "DK-CPH"})
        result = screened(connection, {"phone": ANNA, "ownership_code": "DK-AAR"}, on_duplicate="update")
        assert settled(result) == [(1, "unchanged", 100)]

    def test_of_several_leads_with_the_number_the_oldest_is_meant(self, connection: Connection) -> None:
        there(connection, {"phone": ANNA}, first=100)
        there(connection, {"phone": ANNA}, first=50)
        result = screened(connection, {"phone": ANNA, "city": "Odense"}, on_duplicate="update")
        assert result.updates["id"].to_list() == [50]


class TestDoNotCall:
    def list_numbers(self, connection: Connection) -> None:
        loading.add_do_not_call(connection, 0, [ANNA], "asked")
        loading.add_do_not_call(connection, campaign_of(connection).id, [ANNA, BO], "asked")

    def test_listed_numbers_are_rejected_by_the_list_that_has_them(self, connection: Connection) -> None:
        self.list_numbers(connection)
        result = screened(connection, {"phone": ANNA}, {"phone": BO}, {"phone": CARL}, on_do_not_call="reject")
        assert result.new["row"].to_list() == [3]
        assert settled(result) == [(1, "rejected", None), (2, "rejected", None)]
        assert told(result) == [(1, "do_not_call", "error"), (2, "do_not_call", "error")]
        first, second = result.problems["message"]
        assert "global" in first
        assert "list of DK-ENERGY" in second

    def test_or_loaded_as_closed_leads_with_a_warning(self, connection: Connection) -> None:
        self.list_numbers(connection)
        result = screened(connection, {"phone": ANNA}, {"phone": BO}, {"phone": CARL}, on_do_not_call="close")
        assert result.new.select("row", "status").rows() == [
            (1, "in_global_do_not_call_list"),
            (2, "in_do_not_call_list"),
            (3, "unprocessed"),
        ]
        assert told(result) == [(1, "do_not_call", "warning"), (2, "do_not_call", "warning")]

    def test_the_list_of_another_campaign_does_not_matter(self, connection: Connection) -> None:
        other = rules.campaign(connection, "DK-FIBRE").id
        loading.add_do_not_call(connection, other, [ANNA], "asked")
        assert screened(connection, {"phone": ANNA}).new.height == 1

    def test_a_listed_number_twice_in_the_file_is_rejected_twice(self, connection: Connection) -> None:
        self.list_numbers(connection)
        result = screened(connection, {"phone": ANNA}, {"phone": ANNA}, on_do_not_call="reject")
        assert [outcome for _, outcome, _ in settled(result)] == ["rejected", "rejected"]

    def test_an_open_lead_whose_number_is_listed_by_now_is_closed_by_an_update(self, connection: Connection) -> None:
        self.list_numbers(connection)
        there(connection, {"phone": ANNA, "city": "Odense"}, {"phone": CARL, "city": "Odense"})
        unprocessed = rules.statuses(connection)["unprocessed"]
        connection.execute(tables.leads.update().values(status_id=unprocessed))
        rows = ({"phone": ANNA, "city": "Odense"}, {"phone": CARL, "city": "Aarhus"})
        result = screened(connection, *rows, on_do_not_call="close", on_duplicate="update")
        closed = rules.statuses(connection)["in_global_do_not_call_list"]
        changes = result.updates.select("id", "status_id", "city").rows()
        assert changes == [(100, closed, "Odense"), (101, unprocessed, "Aarhus")]
        assert "nobody will call it" in result.problems["suggestion"][0]
        updates.write(connection, result.updates, bringing(connection))
        again = screened(connection, *rows, on_do_not_call="close", on_duplicate="update")
        assert [(row, outcome) for row, outcome, _ in settled(again)] == [(1, "unchanged"), (2, "unchanged")]

    def test_what_is_no_number_is_never_the_number_of_another_lead(self, connection: Connection) -> None:
        there(connection, {"phone": "unknown", "city": "Odense"})
        rows = ({"phone": "unknown", "invalid_phone": True}, {"phone": "unknown", "invalid_phone": True})
        for rule in ("reject", "update", "keep"):
            result = screened(connection, *rows, on_duplicate=rule)
            assert (result.new.height, result.updates.height, result.settled.height) == (2, 0, 0)

    def test_an_invalid_phone_is_a_closed_lead_of_its_own_status(self, connection: Connection) -> None:
        result = screened(connection, {"phone": "12", "invalid_phone": True}, {"phone": BO, "invalid_phone": False})
        assert result.new["status"].to_list() == ["invalid_phone_number", "unprocessed"]


@pytest.mark.parametrize("rule", ["reject", "update", "keep"])
@pytest.mark.parametrize("listed", ["reject", "close"])
def test_no_records_are_screened_into_nothing(connection: Connection, rule: str, listed: str) -> None:
    there(connection, {"phone": ANNA})
    loading.add_do_not_call(connection, 0, [BO], "asked")
    frame = records({"phone": ANNA, "city": "x"}).clear()
    campaign = campaign_of(connection, on_duplicate=rule, on_do_not_call=listed)
    result = screening.screen(connection, frame, campaign, "Tlf")
    assert (result.new.height, result.updates.height, settled(result), told(result)) == (0, 0, [], [])


def test_the_fence_is_that_of_before_the_first_question(connection: Connection) -> None:
    before = fences.seen(connection, campaign_of(connection).id)
    assert screened(connection, {"phone": ANNA}).fence == before


SOME = st.sampled_from([None, "a", "b"])
EXTRA = st.one_of(st.none(), st.dictionaries(st.sampled_from("xyz"), st.sampled_from([None, 1, "1", ""]), min_size=1))


@given(EXTRA, EXTRA)
def test_a_merge_keeps_what_is_not_said_and_takes_what_is(
    new: dict[str, Any] | None, old: dict[str, Any] | None
) -> None:
    merged = comparing.merge(*(None if each is None else json.dumps(each) for each in (new, old)))
    known = {} if merged is None else json.loads(merged)
    if new is None:
        assert merged is None  # says nothing; what is there stays
    for name, value in (new or {}).items():
        assert known[name] == value if value is not None else known.get(name) == (old or {}).get(name)
    for name, value in (old or {}).items() if new is not None else ():
        assert name in (new or {}) or known[name] == value


ROWS = st.lists(
    st.fixed_dictionaries({"phone": st.sampled_from([ANNA, BO, CARL, "+4526000009"]), "city": SOME, "comments": SOME}),
    min_size=1,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.sampled_from(["reject", "update", "keep"]), st.sampled_from(["reject", "close"]))
def test_every_record_is_decided_once(shared: Engine, rows: list[dict[str, Any]], rule: str, listed: str) -> None:
    with shared.connect() as connection, connection.begin() as transaction:
        there(connection, {"phone": ANNA, "city": "a"}, {"phone": BO, "comments": "b"})
        loading.add_do_not_call(connection, 0, [CARL], "asked")
        result = screened(connection, *rows, on_duplicate=rule, on_do_not_call=listed)
        transaction.rollback()
    decided = [*result.new["row"], *result.updates["row"], *result.settled["row"]]
    assert sorted(decided) == list(range(1, len(rows) + 1))
    ended = {row: outcome for row, outcome, _ in settled(result)}
    errors = {row for row, _, severity in told(result) if severity == "error"}
    assert errors == {row for row, outcome in ended.items() if outcome in ("rejected", "duplicate")}
    if rule != "keep":
        assert result.new["phone"].is_unique().all()
        assert not set(result.new["phone"]) & {ANNA, BO}
