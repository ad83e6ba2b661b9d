"""The last line that says how many records there are: cut off in every encoding, told from a record."""

from __future__ import annotations

import io

import openpyxl
import pytest

from ingestd.errors import Rejected
from ingestd.ingest import reading
from ingestd.model import DialectHints

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


def test_without_a_pattern_it_is_a_record_like_any_other() -> None:
    sheet = reading.read((LINES + "END;2").encode(), name="x.csv")
    assert (sheet.facts.announced, sheet.filled) == (None, 3)
