"""Exports: all that matches, once each, safe to open, in bounded memory, and in the audit."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from sqlalchemy import insert, select

from ingestd.errors import Invalid
from ingestd.leads import columns, do_not_call, exporting, filters, listing, ordering, scope
from ingestd.leads.exporting import Export, Format
from ingestd.leads.listing import Wish
from ingestd.store import audit
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.tables import leads as table
from tests.leads.conftest import NOON, Desk
from tests.leads.test_conditions import one
from tests.leads.test_filters import FIELDS

EVERY = columns.known(FIELDS)
DEED = Deed(actor=COMMAND_LINE, at=NOON, why="a test")
SHOWN = ["id", "city", "date_of_birth", "uploaded_at", "deactivated", "attempts", "extra.supplier"]


def wanted(
    tree: Any = None, sort: str = "id", form: str = "csv", shown: list[str] | None = None, **facts: Any
) -> Export:
    wish = Wish(
        tree=filters.parsed(tree, FIELDS), sort=ordering.parsed(sort, EVERY), limit=1, at=NOON, **{"who": None, **facts}
    )
    return Export(wish=wish, columns=columns.chosen(shown or SHOWN, EVERY), format=Format(form))


def exported(desk: Desk, export: Export) -> bytes:
    return b"".join(exporting.pieces(desk.engine, export, DEED))


def entries(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    with reading(desk.engine) as connection:
        return [(each.action, each.after or {}) for each in audit.latest(connection, limit=2)]


def test_csv_is_safe_to_open_and_has_every_lead_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 2)
    made = desk.leads({"city": "=1+1"}, {"city": 'Å "x", y'}, {"city": None}, {"city": "Lund"}, {"city": "+4526000000"})
    content = exported(desk, wanted())
    assert content.startswith(exporting.BYTE_ORDER_MARK)
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    assert rows[0][:2] == ["Lead", "City"]
    assert [int(row[0]) for row in rows[1:]] == made
    assert [row[1] for row in rows[1:]] == ["'=1+1", 'Å "x", y', "", "Lund", "+4526000000"]
    assert rows[1][3] == "2026-06-15T12:00:00Z"
    (end, told), (begun, _) = entries(desk)
    assert (begun, end) == ("lead_export_begun", "leads_exported")
    assert (told["leads"], told["whole"], told["filter"], told["format"]) == (5, True, {"all": []}, "csv")


def test_excel_and_parquet_have_the_same_values(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 2)
    monkeypatch.setattr(exporting, "PART", 3)
    made = desk.leads(
        {"city": "=1+1", "extra": '{"supplier": "-x"}'}, {"attempts": 3}, {}, {"deactivated_at": NOON}, {}
    )
    (tmp_path / "leads.xlsx").write_bytes(exported(desk, wanted(sort="-id", form="xlsx")))
    sheet = openpyxl.load_workbook(tmp_path / "leads.xlsx").active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert [row[0] for row in rows[1:]] == made[::-1]
    assert (rows[-1][1], rows[-1][6]) == ("=1+1", "-x")
    assert sheet.cell(len(rows), 2).data_type == "s"
    frame = pl.read_parquet(io.BytesIO(exported(desk, wanted(sort="-id", form="parquet"))))
    assert frame.columns == SHOWN
    assert frame["id"].to_list() == made[::-1]
    assert frame["deactivated"].to_list() == [False, True, False, False, False]
    assert frame.schema["uploaded_at"] == pl.Datetime("us", "UTC")
    assert frame.schema["attempts"] == pl.Int64


@pytest.mark.parametrize("format", list(Format))
def test_nothing_is_a_file_with_titles(desk: Desk, format: Format, tmp_path: Path) -> None:  # noqa: A002
    content = exported(desk, wanted(one("city", "is", "Nowhere"), form=format))
    if format == Format.CSV:
        assert content.decode("utf-8-sig").startswith("Lead,City,")
    elif format == Format.PARQUET:
        assert pl.read_parquet(io.BytesIO(content)).height == 0
    else:
        (tmp_path / "x.xlsx").write_bytes(content)
        assert openpyxl.load_workbook(tmp_path / "x.xlsx").active.max_row == 1  # type: ignore[union-attr]


def test_what_does_not_fit_into_a_worksheet_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.leads({}, {}, {})
    monkeypatch.setattr(exporting, "MOST_IN_EXCEL", 2)
    with pytest.raises(Invalid) as refusal:
        exported(desk, wanted(form="xlsx"))
    assert refusal.value.code == "export_too_long"
    assert entries(desk)[0][1]["whole"] is False


def test_a_sort_that_is_not_offered_is_refused_before_anything_is_sent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.leads({}, {})
    monkeypatch.setattr(scope, "FEW", 1)
    with pytest.raises(Invalid) as refusal:
        next(exporting.pieces(desk.engine, wanted(sort="city"), DEED))
    assert refusal.value.code == "sort_not_offered"


def test_an_export_that_nobody_waits_for_is_in_the_audit_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 1)
    desk.leads({}, {}, {})
    made = exporting.pieces(desk.engine, wanted(), DEED)
    next(made)
    next(made)
    assert isinstance(made, Iterator)
    made.close()  # type: ignore[attr-defined]
    (_, told), _ = entries(desk)
    assert (told["leads"], told["whole"]) == (1, False)


def test_a_listed_alternative_number_is_exported_for_the_house_alone(desk: Desk) -> None:
    listed, free = desk.leads({"alternative_phone": "+4526141599"}, {"alternative_phone": "+4526141598"})
    with writing(desk.engine) as connection:
        do_not_call.add(connection, ["+4526141599"], None, DEED)
    shown = ["id", "alternative_phone"]
    own, whole = (exported(desk, wanted(shown=shown, who=who)) for who in (desk.agent("copenhagen-1"), None))
    assert own.decode("utf-8-sig").splitlines()[1:] == [f"{listed},", f"{free},+4526141598"]
    assert whole.decode("utf-8-sig").splitlines()[1:] == [f"{listed},+4526141599", f"{free},+4526141598"]


def test_the_audit_has_no_values_of_personal_fields(desk: Desk) -> None:
    city = {"field": "city", "op": "is", "value": "Lund"}
    exported(desk, wanted({"all": [{"field": "phone", "op": "is", "value": "+4526141516"}, city]}))
    for _, told in entries(desk):
        assert told["filter"] == {"all": [{"field": "phone", "op": "is"}, city]}


def test_writers_go_on_and_the_export_does_not_see_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 2)
    made = desk.leads({}, {}, {}, {})
    coming = exporting.pieces(desk.engine, wanted(shown=["id"]), DEED)
    content = [next(coming)]
    desk.leads({})
    content += coming
    assert b"".join(content).decode("utf-8-sig").split() == ["Lead", *map(str, made)]


def test_only_what_the_user_sees_is_exported(desk: Desk) -> None:
    (mine,) = desk.leads({}, owner="team:denmark")
    desk.leads({}, campaign="DE-ENERGY", owner="team:germany")
    content = exported(desk, wanted(shown=["id"], who=desk.agent("copenhagen-1")))
    assert content.decode("utf-8-sig").split() == ["Lead", str(mine)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_leads(desk: Desk) -> None:
    count = 50_000
    (first,) = desk.leads({})
    values = desk.all_leads()[0]
    with writing(desk.engine, forgettable=True) as connection:
        for start in range(1, count, 20_000):
            rows = [{**values, "id": first + number} for number in range(start, min(start + 20_000, count))]
            connection.execute(insert(table), rows)
    tracemalloc.start()
    size = sum(len(piece) for piece in exporting.pieces(desk.engine, wanted(), DEED))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 20 * count
    assert peak < 40 * 2**20, f"{peak / 2**20:.0f} MiB"
    with reading(desk.engine) as connection:
        assert connection.scalar(select(table.c.id).order_by(table.c.id.desc())) == first + count - 1
    assert json.dumps(entries(desk)[0][1]["leads"]) == str(count)
    assert listing.PATIENCE < 0.1
