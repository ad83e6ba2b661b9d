"""The public corpora: unpacked once into a temporary folder, and read against their truth."""

from __future__ import annotations

import csv
import functools
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest.reading import Sheet, read

ARCHIVE = Path(
    os.environ.get("INGESTD_CORPORA")
    or Path(__file__).resolve().parents[1].parent / "shared" / "corpora" / "corpora.tar.xz"
)
MISSING = f"the corpora are not there: {ARCHIVE} (or set INGESTD_CORPORA)"


@functools.cache
def unpacked() -> Path:
    """The folder with the corpora; it goes when Python ends."""
    folder = tempfile.TemporaryDirectory(prefix="ingestd-corpora-")
    _KEPT.append(folder)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder.name, filter="data")
    return next(path for path in (Path(folder.name), *Path(folder.name).iterdir()) if (path / "pollock").is_dir())


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def corpora() -> Path | None:
    """The folder, or None when the archive is not there."""
    return unpacked() if ARCHIVE.exists() else None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one Pollock file was read, against its truth."""

    name: str
    refused: str = ""
    """code of the refusal; empty when the file was read"""
    good: int = 0
    rejected: int = 0
    discarded: int = 0
    changed: int = 0
    """records that were loaded with other cells than the truth has"""
    extra: int = 0
    """records loaded which the truth does not know: a second table in the same file"""
    truth: int = 0

    @property
    def lost(self) -> int:
        """Records of the truth that were not loaded."""
        return self.truth - (self.good - self.extra)

    @property
    def exact(self) -> bool:
        """Loaded as the truth has it, with nothing lost and nothing more."""
        return not self.refused and not self.changed and self.good == self.truth


def judged(name: str) -> Verdict:
    """Reads one polluted file and compares it with its truth, record by record."""
    folder = unpacked() / "pollock"
    rows = truth_rows(folder / "clean" / name)
    try:
        sheet = read((folder / "csv" / name).read_bytes(), name=name)
    except Rejected as refusal:
        return Verdict(name=name, refused=refusal.code, truth=max(len(rows) - 1, 0))
    return compared(name, sheet, rows[1:])


def truth_rows(path: Path) -> list[tuple[str, ...]]:
    """The truth with its header, or nothing for an empty file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [tuple(row) for row in csv.reader(stream)]


def compared(name: str, sheet: Sheet, rows: list[tuple[str, ...]]) -> Verdict:
    """Aligns by position: record n of the file is row n of the truth, not counting headers below the first."""
    errors = sheet.problems.filter(pl.col("severity") == "error")
    headers = set(errors.filter(pl.col("code") == "header_repeated")["row"].to_list())
    place = 0
    at: dict[int, int] = {}
    for row in sheet.records["row"].to_list():
        if row not in headers:
            at[row] = place
            place += 1
    changed = extra = 0
    for row, cells in zip(sheet.rows.to_list(), sheet.cells.rows(), strict=True):
        if at[row] >= len(rows):
            extra += 1
        elif cells != rows[at[row]]:
            changed += 1
    return Verdict(
        name=name,
        good=sheet.cells.height,
        rejected=errors["row"].n_unique(),
        discarded=sheet.discarded.len(),
        changed=changed,
        extra=extra,
        truth=len(rows),
    )
