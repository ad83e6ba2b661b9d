"""Public files: nothing is changed silently, and a polluted row is all that is lost."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ingestd.errors import Rejected
from ingestd.ingest.reading import read
from tests.corpora_report import report
from tests.corpora_support import ARCHIVE, MISSING, judged, unpacked

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason=MISSING)

# Files with several polluted records, each of which may be lost.
LOSE_MORE = {
    "file_escape_char_0x00.csv": 6,  # all quotes inside fields are bare: six records have some
    "file_quotation_char_0x27.csv": 6,  # `""` inside '…' may be one quote or two, and `\'` may be one character or two
}
# Files without a header that can be trusted.
REFUSED = {
    "file_field_delimiter_0x20.csv": "delimiter_unknown",
    "file_header_only.csv": "header_only",
    "file_no_header.csv": "no_header",
    "file_no_payload.csv": "empty_file",
    "row_extra_quote0_col2.csv": "header_unreadable",
    "row_field_delimiter_0_0x20.csv": "header_unreadable",
    "row_less_sep_row0_col8.csv": "header_unreadable",
    "row_less_sep_row0_col6.csv": "header_mismatch",
    "row_more_sep_row0_col0.csv": "header_mismatch",
    "row_more_sep_row0_col3.csv": "header_mismatch",
    "row_more_sep_row0_col4.csv": "header_mismatch",
    "row_more_sep_row0_col6.csv": "header_mismatch",
    "row_more_sep_row0_col7.csv": "header_mismatch",
}
# Records below a repeated header: the truth stops before them, we read them as what they say they are.
EXTRA = {"file_multitable_same.csv": 81}

CSVKIT = {  # good, rejected and discarded records, or the reason of the refusal
    "FY09_EDU_Recipients_by_State.csv": (52, 0, 1),
    "bad.csv": (1, 2, 0),
    "blanks.csv": (1, 0, 0),
    "dummy.csv.gz": (1, 0, 0),
    "dummy_col_shuffled_ragged.csv": (1, 0, 0),
    "empty.csv": "empty_file",
    "ks_1033_data.csv": (1575, 0, 0),
    "mac_newlines.csv": (2, 0, 0),
    "no_header_row.csv": "no_header",
    "null_byte.csv": (0, 1, 0),
    "optional_quote_characters.csv": (1, 0, 0),
    "test.xlsx": (5, 0, 0),
    "test_empty_columns_long_row.csv": (0, 1, 0),
    "test_empty_columns_short_row.csv": (0, 1, 0),
    "test_extra_header.csv": (0, 1, 0),
    "test_geo.csv": (17, 0, 0),
    "test_header_newline.csv": (1, 0, 0),
    "test_latin1.csv": (2, 0, 0),
    "test_locale.csv": (1, 0, 0),
    "test_skip_lines.csv": (1, 0, 0),
    "test_utf16_big.csv": (2, 0, 0),
    "test_utf16_little.csv": (2, 0, 0),
    "test_utf8.csv": (2, 0, 0),
    "test_utf8_bom.csv": (2, 0, 0),
}


def test_no_pollock_file_is_changed_silently() -> None:
    """Every file: cells equal the truth, and at most the polluted record is lost."""
    names = sorted(path.name for path in (unpacked() / "pollock" / "csv").glob("*.csv"))
    assert len(names) > 500
    found = [judged(name) for name in names]
    text = report(found)
    assert [v.name for v in found if v.changed] == [], text
    assert {v.name: v.refused for v in found if v.refused} == REFUSED, text
    read_files = [v for v in found if not v.refused]
    assert {v.name: v.lost for v in read_files if v.lost > 1} == LOSE_MORE, text
    assert {v.name: v.extra for v in read_files if v.extra} == EXTRA, text
    one = [v for v in read_files if v.name not in LOSE_MORE and not v.name.startswith("file_")]
    assert all(v.rejected == v.lost <= 1 for v in one), text


def spectrum() -> list[str]:
    return (
        sorted(path.stem for path in (unpacked() / "csv-spectrum" / "csvs").glob("*.csv")) if ARCHIVE.exists() else []
    )


@pytest.mark.parametrize("name", spectrum())
def test_csv_spectrum_is_read_exactly(name: str) -> None:
    folder = unpacked() / "csv-spectrum"
    sheet = read((folder / "csvs" / f"{name}.csv").read_bytes(), name=name)
    truth = json.loads((folder / "json" / f"{name}.json").read_text(encoding="utf-8"))
    truth = truth if isinstance(truth, list) else [truth]
    if name == "location_coordinates":
        truth[0]["Contact Phone Number"] = "2095257564"  # the JSON file was given an invented number, its CSV was not
    assert sheet.cells.to_dicts() == truth
    assert sheet.problems.is_empty()


@pytest.mark.parametrize("name", sorted(CSVKIT))
def test_csvkit_is_read_or_refused_with_the_right_reason(name: str) -> None:
    data = (unpacked() / "csvkit" / name).read_bytes()
    expected = CSVKIT[name]
    if isinstance(expected, str):
        with pytest.raises(Rejected) as caught:
            read(data, name=name)
        assert caught.value.code == expected
        return
    sheet = read(data, name=name)
    rejected = sheet.problems.filter(pl.col("severity") == "error")["row"].n_unique()
    assert (sheet.cells.height, rejected, sheet.discarded.len()) == expected


def test_every_csvkit_file_has_its_expectation() -> None:
    assert {path.name for path in Path(unpacked() / "csvkit").iterdir()} == set(CSVKIT)


def test_the_clean_truths_are_read_exactly() -> None:
    """The truths themselves, in which every field is quoted."""
    for path in sorted((unpacked() / "pollock" / "clean").glob("row_more_sep_row1*.csv")):
        sheet = read(path.read_bytes(), name=path.name)
        assert sheet.problems.is_empty()
        assert sheet.cells.height == 83


def test_headers_and_details_of_csvkit() -> None:
    folder = unpacked() / "csvkit"
    assert read((folder / "test_skip_lines.csv").read_bytes(), name="s").facts.header_line == 4
    assert read((folder / "test_latin1.csv").read_bytes(), name="s").cells["c"].to_list() == ["3", "©"]
    assert read((folder / "mac_newlines.csv").read_bytes(), name="s").cells["a"].to_list() == ["1", "Once upon\ra time"]
    header = read((folder / "test_header_newline.csv").read_bytes(), name="s").header
    assert header == ("\t\n\x0b\x0c\r start \t\n\x0b\x0c\r end \t\n\x0b\x0c\r", "b", "c")
