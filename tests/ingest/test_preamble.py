"""What stands above the header: titles are skipped, records never are in silence."""

from __future__ import annotations

import io

import openpyxl
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.errors import Rejected
from ingestd.ingest.reading import Sheet, read
from tests.ingest.conftest import Station

NAMES = ["phone", "name", "address", "postcode", "city"]
TABLE = [NAMES, *([f"260000{number}", f"Ada {number}", "Bygade 2", "5000", "Odense"] for number in range(10, 40))]


def as_csv(rows: list[list[str]]) -> bytes:
    return "".join(";".join(row) + "\n" for row in rows).encode()


def as_workbook(rows: list[list[str]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def sheet_below(above: list[list[str]], *, workbook: bool) -> Sheet:
    rows = [*above, *TABLE]
    return read(as_workbook(rows) if workbook else as_csv(rows), name="leads")


def refusal(above: list[list[str]], *, workbook: bool) -> Rejected:
    with pytest.raises(Rejected) as caught:
        sheet_below(above, workbook=workbook)
    return caught.value


@pytest.mark.parametrize("workbook", [False, True])
@pytest.mark.parametrize(
    ("above", "line"),
    [
        ([["Phone", "NAME"], ["20123456", "Eva"], []], 1),
        ([["name", "phone"], ["Eva", "20123456"]], 1),
        ([["tlf", "navn"], ["+45 20 12 34 56", "Eva"]], 2),
        ([["mail", "navn"], ["eva@example.com", "Eva"]], 2),
        ([["navn", "tlf"], ["Eva", "20123456"], ["Ib", "20.12.34.57"], ["Bo", "(20) 12 34 58"]], 4),
        ([["tlf"], ["20123456"], ["20123457"], ["20123458"]], 4),
    ],
)
def test_a_table_above_a_wider_one_is_refused(above: list[list[str]], line: int, workbook: bool) -> None:
    error = refusal(above, workbook=workbook)
    assert (error.code, error.line) == ("records_above_header", line)
    assert f"Line {line} stands above the header in line {len(above) + 1}" in error.message


@pytest.mark.parametrize("workbook", [False, True])
def test_more_lines_than_a_title_has_are_refused(workbook: bool) -> None:
    """A workbook was once allowed four times as many, and its first table was gone."""
    assert sheet_below([["note"]] * 20, workbook=workbook).facts.preamble_lines == 20
    assert refusal([["note"]] * 21, workbook=workbook).code == "header_unreadable"


@pytest.mark.parametrize("workbook", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        ["Created", "2026-01-31"],
        ["20260131", "Leads of this month"],
        ["01.01.2026 - 31.01.2026", "all of Denmark"],
        ["Kontakt", "+45 70 10 20 30"],
        ["+45 70102030"],
        ["phone", "", "address"],
    ],
)
def test_what_may_be_more_than_a_title_is_told(line: list[str], workbook: bool) -> None:
    """Such files load; but whoever misses a record finds the line that was skipped."""
    sheet = sheet_below([["Leads"], line], workbook=workbook)
    assert sheet.cells.height == 30
    told = sheet.problems.select("row", "code", "severity", "value", "message").rows()
    value = " ".join(cell for cell in line if cell)
    message = "Line 2: it stands above the header, in line 3, and was left out."
    assert told == [(1, "preamble_skipped", "warning", value, message)]


@pytest.mark.parametrize("workbook", [False, True])
def test_a_plain_title_is_skipped_without_a_word(workbook: bool) -> None:
    sheet = sheet_below([["Leads of March"], [], ["Acme A/S"]], workbook=workbook)
    assert (sheet.facts.preamble_lines, sheet.problems.is_empty()) == (3, True)


def test_a_call_and_a_fax_number_are_a_letterhead() -> None:
    above = [["Tel", "+45 70 10 20 30"], ["Fax", "+45 70 10 20 31"], ["E-mail", "info@example.com"]]
    sheet = sheet_below(above, workbook=False)
    assert sheet.problems["code"].to_list() == ["preamble_skipped"] * 3


word = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)
phone = st.integers(20000000, 99999999).map(str)


@given(leads=st.lists(st.tuples(word, phone), min_size=1, max_size=12), first=st.booleans(), workbook=st.booleans())
def test_no_lead_above_the_header_is_lost_in_silence(leads: list[tuple[str, str]], first: bool, workbook: bool) -> None:
    rows = [["tlf", "navn"], *([number, name] for name, number in leads)]
    above = rows if first else [row[::-1] for row in rows]
    try:
        sheet = sheet_below(above, workbook=workbook)
    except Rejected:
        return
    told = set(sheet.problems.filter(pl.col("code") == "preamble_skipped")["value"])
    seen = {cell for row in sheet.cells.rows() for cell in row} | set(sheet.problems["value"])
    assert all(" ".join(row) in told or any(row[0] in text for text in seen) for row in above)


def test_the_warning_is_in_the_log_of_the_delivery(station: Station) -> None:
    delivery = station.deliver(as_csv([["Kontakt", "+45 70 10 20 30"], *TABLE]))
    station.check_balance(delivery)
    assert delivery.counts.inserted == 30
    (told,) = station.rows(delivery, "errors")
    assert (told["row"], told["line_start"], told["code"]) == ("1", "3", "preamble_skipped")
