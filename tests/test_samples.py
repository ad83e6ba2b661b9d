"""The samples: made from a seed, so that the demo, the benchmarks and the tests see the same bytes every time."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import polars as pl
import pytest

from ingestd import samples
from ingestd.ingest import phones, reading
from ingestd.ingest.problems import SCHEMA


def contents(sample: samples.Sample) -> bytes:
    """A workbook is a zip file, which keeps the time of its making; its sheet does not."""
    if not sample.name.endswith(".xlsx"):
        return sample.data
    with zipfile.ZipFile(io.BytesIO(sample.data)) as archive:
        return archive.read("xl/worksheets/sheet1.xml")


def table(data: bytes) -> pl.DataFrame:
    return pl.read_csv(data, infer_schema=False)


def e164(numbers: pl.Series, region: str) -> pl.Series:
    return phones.normalise(numbers, region)["e164"]


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = ([contents(sample) for sample in samples.every(clean_rows=300)] for _ in range(2))
    assert first == second
    assert samples.clean(10, seed=1) != samples.clean(10, seed=2)


def test_names_and_sources_are_what_the_demo_sends() -> None:
    found = list(samples.every(clean_rows=10))
    assert len({sample.name for sample in found}) == len(found)
    assert {sample.source for sample in found} == {"nordlead", "stadtwerk", "fibreweb"}
    assert {sample.door for sample in found} == {"ftp", "ftps", "sftp", "folder"}


def test_write_all_writes_what_every_makes(tmp_path: Path) -> None:
    paths = samples.write_all(tmp_path, clean_rows=20)
    assert {path.name for path in paths} == {sample.name for sample in samples.every(clean_rows=20)}
    assert (tmp_path / "nordlead-2026-11.csv").read_bytes() == samples.clean(20)


@pytest.mark.parametrize("start", [0, 1_000_000, 2_000_000, 2_950_000])
def test_every_danish_number_is_valid_and_none_repeats(start: int) -> None:
    numbers = e164(table(samples.clean(5_000, start=start))["Phone"], "DK")
    assert numbers.null_count() == 0
    assert numbers.n_unique() == 5_000


def test_every_german_number_is_valid_and_none_repeats() -> None:
    text = samples.german(1_500).decode("cp1252").encode()
    numbers = e164(pl.read_csv(text, separator=";", infer_schema=False)["Telefon"], "DE")
    assert numbers.null_count() == 0
    assert numbers.n_unique() == 1_500


def test_the_workbook_reads_as_a_sheet_of_valid_numbers() -> None:
    sheet = reading.read(samples.workbook(50), name="fibre.xlsx")
    assert sheet.facts.container == "xlsx"
    assert sheet.cells.height == 50
    assert e164(sheet.cells["Mobil"], "DK").null_count() == 0


def test_the_samples_do_not_share_numbers() -> None:
    extra = next(sample for sample in samples.every(clean_rows=1) if sample.name.endswith(".gz"))
    one = e164(table(samples.clean(10_000))["Phone"], "DK")
    other = e164(table(gzip.decompress(extra.data))["Phone"], "DK")
    assert one.is_in(other.implode()).sum() == 0


def test_the_dirty_file_has_good_rows_between_its_faults() -> None:
    sheet = reading.read(samples.dirty(), name="dirty.csv")
    assert sheet.problems.schema == SCHEMA
    broken = {
        "too_few_fields", "too_many_fields", "stray_quote", "nul_byte", "bytes_not_text", "blank_record",
        "header_repeated",
    }  # fmt: skip
    assert broken <= set(sheet.problems["code"])
    assert sheet.cells.height >= 60


def test_the_do_not_call_list_has_a_number_of_the_dirty_file() -> None:
    header, listed = samples.do_not_call().splitlines()
    assert header == b"phone"
    assert listed in samples.dirty()
    assert e164(pl.Series([listed.decode()]), "DK").null_count() == 0


def test_the_picture_is_a_picture() -> None:
    assert samples.picture().startswith(b"\x89PNG\r\n\x1a\n")
