"""Whatever bytes come in: records add up, tile the file, and the fast way reads what the exact way reads."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import zipfile

import openpyxl
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ingestd.errors import Rejected
from ingestd.ingest.reading import Sheet, read, reader
from ingestd.ingest.reading.container import Unpacked
from ingestd.model import DialectHints

RELAXED = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])

cell_text = st.text(
    st.one_of(
        st.sampled_from(
            ["a", "b", "1", " ", ",", ";", "\t", "|", '"', "'", "\n", "\r", "\\", "é", "€", "\ufeff", "😀"]
        ),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=8,
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(2, 5))
    return draw(st.lists(st.lists(cell_text, min_size=width, max_size=width), min_size=1, max_size=8))


def whole_records(sheet: Sheet) -> None:
    """The record lines and offsets fit the original bytes."""
    assert sheet.records["row"].to_list() == list(range(1, sheet.records.height + 1))
    assert sheet.records["length"].min() >= 0
    assert (sheet.records["line_end"] >= sheet.records["line_start"]).all()
    first = sheet.records["offset"][0]
    assert sheet.original[:first].endswith(sheet.header_bytes[-20:])
    assert sheet.cells.null_count().sum_horizontal()[0] == 0


@RELAXED
@given(
    table=tables(),
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    newline=st.sampled_from(["\r\n", "\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    full=st.booleans(),
)
def test_tables_that_csv_wrote_are_read_exactly(
    table: list[list[str]], delimiter: str, quote: str, newline: str, encoding: str, full: bool
) -> None:
    """A record is exact, blank, or (several lines that look like records) rejected as ambiguous: never changed."""
    header = [f"name {i}" for i in range(len(table[0]))]
    stream = io.StringIO(newline="")
    # csv quotes CR and LF in cells only when they are in its own line ends; bare beside those, they would be line ends.
    quoting = csv.QUOTE_MINIMAL if newline == "\r\n" and not full else csv.QUOTE_ALL
    writer = csv.writer(stream, delimiter=delimiter, quotechar=quote, lineterminator=newline, quoting=quoting)
    writer.writerows([header, *table])
    data = stream.getvalue().encode(encoding)
    hints = DialectHints(delimiter=delimiter, quote=quote, encoding=encoding)
    blank = [not any(cell.strip(" \t") for cell in row) for row in table]
    try:
        sheet = read(data, name="t.csv", hints=hints)
    except Rejected as error:
        assume(error.code == "header_only" and all(blank))
        return
    whole_records(sheet)
    errors = sheet.problems.filter(pl.col("severity") == "error")
    if errors.height:
        allowed = {"ambiguous_quotes"}
        allowed |= {"stray_quote", "too_many_fields", "too_few_fields"} if quote == "'" else set()
        assert set(errors["code"]) <= allowed
        # Lines that all look like records are read one by one, so the numbers of records and of rows differ.
        assume(sheet.records.height == len(table))
        assert all(row == tuple(table[at - 1]) for at, row in zip(sheet.rows, sheet.cells.rows(), strict=True))
        return
    assert sheet.records.height == len(table)
    expected = [tuple(row) for row, empty in zip(table, blank, strict=True) if not empty]
    assert sheet.cells.rows() == expected
    assert sheet.discarded.to_list() == [i for i, empty in enumerate(blank, start=1) if empty]


near_csv = st.text(st.sampled_from("a,\"';\n\r \\bé"), max_size=60)


@settings(RELAXED, max_examples=1000)
@given(text=near_csv, quote=st.sampled_from([None, '"', "'", ""]), delimiter=st.sampled_from([None, ",", ";"]))
@example(text='a,b,c\n1,"2,3\n4,5",6\n', quote=None, delimiter=None)
@example(text="\ufeff\n\ufeffx\n", quote='"', delimiter=",")
def test_the_fast_way_reads_what_the_exact_way_reads(text: str, quote: str | None, delimiter: str | None) -> None:
    data = ("head a,head b,head c\n" + text).encode()
    hints = DialectHints(quote=quote, delimiter=delimiter)
    sheets = []
    for exact in (False, True):
        try:
            sheets.append(reader._read_text(Unpacked(data=data), "t.csv", hints, exact=exact))
        except Rejected as error:
            sheets.append(error.code)
    fast, exact_sheet = sheets
    if isinstance(fast, str) or isinstance(exact_sheet, str):
        assert fast == exact_sheet
        return
    assert fast.cells.rows() == exact_sheet.cells.rows()
    assert fast.rows.to_list() == exact_sheet.rows.to_list()
    assert fast.records.equals(exact_sheet.records)
    assert fast.problems.equals(exact_sheet.problems)
    whole_records(fast)


any_bytes = st.one_of(
    st.binary(max_size=200),
    st.text(st.sampled_from("a,\"';\n\r \\\0é\ud800"), max_size=80).map(
        lambda t: t.encode("utf-16-le", "surrogatepass")
    ),
    st.lists(st.sampled_from([b"a", b",", b"\n", b'"', b"\xff", b"\xe9", b"\xc3\xa9", b"\0", b"\r", b"\x81"])).map(
        b"".join
    ),
)


@settings(RELAXED, max_examples=1000)
@given(
    start=st.sampled_from([b"", b"x,y\n", b"\xef\xbb\xbfx,y\n", b"\xff\xfex\0,\0y\0\n\0", "x,y\n".encode("utf-16-be")]),
    data=any_bytes,
    encoding=st.sampled_from([None, None, "utf-8", "utf-16", "cp1252", "latin-1"]),
)
def test_any_bytes_make_a_sheet_or_are_refused(start: bytes, data: bytes, encoding: str | None) -> None:
    try:
        sheet = read(start + data, name="t.csv", hints=DialectHints(encoding=encoding, max_bytes=1_000_000))
    except Rejected:
        return
    whole_records(sheet)


@pytest.mark.parametrize("damage", ["cut", "flip"])
@pytest.mark.parametrize("kind", ["gzip", "zip", "xlsx"])
def test_damaged_containers_are_refused(kind: str, damage: str) -> None:
    data = packed(kind)
    for at in range(1, len(data), max(1, len(data) // 150)):
        broken = data[:at] if damage == "cut" else data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        with contextlib.suppress(Rejected):
            whole_records(read(broken, name="t", hints=DialectHints(max_bytes=1_000_000)))


def packed(kind: str) -> bytes:
    """A small table in each container."""
    table = b"name,phone\nAnna,+4930123456\n"
    if kind == "gzip":
        return gzip.compress(table)
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", table)
    else:
        workbook = openpyxl.Workbook()
        workbook.active.append(["name", "phone"])
        workbook.active.append(["Anna", "+4930123456"])
        workbook.save(stream)
    return stream.getvalue()
