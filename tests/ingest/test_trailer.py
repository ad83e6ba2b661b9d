"""The last line that says how many records there are: cut off in every encoding, told from a record."""

from __future__ import annotations

import io

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.errors import Rejected
from ingestd.ingest import reading
from ingestd.model import DialectHints, State
from tests.ingest.conftest import Station

HINTS = DialectHints(trailer=r"^(END|Summe)[;,](?P<rows>[0-9 .,']+)$")
LINES = "Phone;Name\r\n26000001;Jørgen\r\n26000002;Bo\r\n"


def workbook(*rows: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["END;2", "END;2\r\n", "END;2\r\n\r\n \r\n"])
def test_the_trailer_is_cut_off(encoding: str, end: str) -> None:
    """The records before it lie where they lay, in the bytes as they came."""
    data = (LINES + end).encode(encoding)
    sheet = reading.read(data, name="x.csv", hints=HINTS)
    assert (sheet.facts.announced, sheet.filled) == (2, 2)
    assert sheet.cells["Name"].to_list() == ["Jørgen", "Bo"]
    assert data.startswith(sheet.original)
    assert sheet.original == LINES.encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["END;2", "Summe;2\r\n", "END;2\r\n\r\n \r\n"])
def test_a_trailer_can_say_another_number(encoding: str, end: str) -> None:
    """It is needed below the rejected records, so that they can be sent again."""
    sheet = reading.read((LINES + end).encode(encoding), name="x.csv", hints=HINTS)
    assert sheet.trailer is not None
    plain = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(encoding, encoding)
    assert sheet.trailer.saying(2) == end.encode(plain)
    again = sheet.original + sheet.trailer.saying(1_234)
    assert reading.read(again, name="x.csv", hints=HINTS).facts.announced == 1_234


@given(
    before=st.text(max_size=9), after=st.text(max_size=9), digits=st.integers(1, 9), number=st.integers(0, 999_999_999)
)
def test_a_trailer_of_any_pattern_says_what_it_is_told(before: str, after: str, digits: int, number: int) -> None:
    """Also one that wants a certain number of digits, and has bytes around it that are no text."""
    strange = b"\xff" + before.translate(_NO_LINE_ENDS).encode()
    wanted = number % 10**digits
    for pattern in (r"~(?P<rows>\d+)~", rf"~(?P<rows>\d{{{digits}}})~"):
        hints = DialectHints(trailer=pattern, encoding="utf-8")
        line = strange + b"~" + b"7" * digits + b"~" + after.translate(_NO_LINE_ENDS).encode() + b"."
        cut = reading.read(LINES.encode() + line, name="x.csv", hints=hints).trailer
        assert cut is not None
        assert cut.saying(int("7" * digits)) == line
        again = reading.read(LINES.encode() + cut.saying(wanted), name="x.csv", hints=hints)
        assert again.facts.announced == wanted


_NO_LINE_ENDS = {ord(char): " " for char in "\r\n~\0"}


def test_lines_that_end_with_cr() -> None:
    sheet = reading.read((LINES + "Summe;2").replace("\r\n", "\r").encode(), name="x.csv", hints=HINTS)
    assert (sheet.facts.announced, sheet.filled) == (2, 2)


@pytest.mark.parametrize(("written", "number"), [("2.000", 2000), ("2 000", 2000), ("1'234", 1234), ("0", 0)])
def test_numbers_may_have_separators(written: str, number: int) -> None:
    assert reading.read((LINES + f"END;{written}").encode(), name="x.csv", hints=HINTS).facts.announced == number


def test_the_last_row_of_a_sheet() -> None:
    data = workbook(("Phone", "Name"), ("26000001", "Ada"), ("26000002", "Bo"), ("END", 2))
    sheet = reading.read(data, name="x.xlsx", hints=HINTS)
    assert (sheet.facts.announced, sheet.filled) == (2, 2)


@pytest.mark.parametrize(
    "end", ["", "END;", "END;two", "END;2;3", "26000003;END", "END;2" + " " * 10 + "x" * 2_000, "END;,"]
)
def test_without_a_trailer_the_file_may_have_been_cut(end: str) -> None:
    for data in ((LINES + end).encode(), workbook(("Phone",), ("26000001",), (end,))):
        with pytest.raises(Rejected) as caught:
            reading.read(data, name="x", hints=HINTS)
        assert caught.value.code == "trailer_missing"


def test_rejected_records_mended_and_sent_again_have_their_trailer(station: Station) -> None:
    """Of text in its own encoding, and of a workbook as text."""
    station.change_source(proof={"trailer": HINTS.trailer}, limits={})
    text = "Telefon;Navn\r\nx;Søren\r\n26000001;Bo\r\ny;Käthe\r\nEND;3\r\n".encode("utf-16")
    sheet = workbook(("Telefon", "Navn"), ("x", "Søren"), (26000011, "Bo"), ("y", "Käthe"), ("END", 3))
    for name, data, encoding in (("a.csv", text, "utf-16-le"), ("b.xlsx", sheet, "utf-8")):
        first = station.deliver(data, name=name)
        assert (first.counts.records, first.counts.rejected) == (3, 2)
        rejected = station.download(first, "rejected").decode(encoding)
        assert rejected.endswith(("\r\nEND;2\r\n", "\r\nEND,2\r\n"))
        mended = rejected.replace("x", f"260000{first.id}2").replace("y", f"260000{first.id}3")
        second = station.deliver(mended.encode(encoding), name=f"{name}.rejected.csv")
        assert (second.state, second.counts.inserted) == (State.COMPLETED, 2)


def test_without_a_pattern_it_is_a_record_like_any_other() -> None:
    sheet = reading.read((LINES + "END;2").encode(), name="x.csv")
    assert (sheet.facts.announced, sheet.filled) == (None, 3)
