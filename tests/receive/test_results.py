"""Results: all parts or none that count, and never somebody else's."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestd.receive.results import prune, publish


def shown(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_parts_are_written_under_the_file_name(tmp_path: Path) -> None:
    """From bytes or from a file."""
    log = tmp_path / "log"
    log.write_bytes(b"line,fate\n")
    paths = publish(tmp_path / "results", "x.csv", 7, {"receipt.json": b"{}", "log.csv": log})
    assert [path.name for path in paths] == ["x.csv.log.csv", "x.csv.receipt.json"]
    assert (tmp_path / "results/x.csv.log.csv").read_bytes() == b"line,fate\n"
    assert log.exists()


def test_the_receipt_comes_last(tmp_path: Path) -> None:
    """Where it is, the others are: a part that fails leaves no receipt and nothing half."""
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "results", "x.csv", 7, {"receipt.json": b"{}", "rejected.csv": tmp_path / "missing"})
    assert shown(tmp_path / "results") == []


def test_another_delivery_of_the_name_gets_its_own_names(tmp_path: Path) -> None:
    """The first keeps the plain ones; publishing again changes no names."""
    for delivery, content in ((7, b"7"), (9, b"9"), (7, b"7 again"), (9, b"9 again")):
        publish(tmp_path, "x.csv", delivery, {"receipt.json": content})
    assert shown(tmp_path) == ["x.csv.9.receipt.json", "x.csv.receipt.json"]
    assert (tmp_path / "x.csv.receipt.json").read_bytes() == b"7 again"
    assert (tmp_path / "x.csv.9.receipt.json").read_bytes() == b"9 again"


def test_without_hard_links_every_delivery_gets_its_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network shares have none; then nobody owns the plain name."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    publish(tmp_path, "x.csv", 7, {"receipt.json": b""})
    assert shown(tmp_path) == ["x.csv.7.receipt.json"]


def test_long_names_fit(tmp_path: Path) -> None:
    """The longest name that doors take, with everything that is put behind it."""
    for delivery in (1, 123_456_789_012):
        publish(tmp_path, "n" * 176 + ".csv", delivery, {"rejected.csv": b""})
    assert len(shown(tmp_path)) == 2


@pytest.mark.parametrize("name", ["../x", "", "a\nb"])
def test_bad_names_are_not_written(tmp_path: Path, name: str) -> None:
    """Doors refuse them; this is the second look."""
    with pytest.raises(ValueError, match=r"not a file name|control characters"):
        publish(tmp_path, name, 1, {"receipt.json": b""})


def test_old_results_are_pruned(tmp_path: Path) -> None:
    """With their owner, so that the plain name is free again."""
    publish(tmp_path, "old.csv", 1, {"receipt.json": b"", "log.csv": b""})
    publish(tmp_path, "new.csv", 2, {"receipt.json": b""})
    now = datetime.now(UTC)
    for path in tmp_path.iterdir():
        if path.name.startswith("old"):
            os.utime(path, (0, 0))
    assert prune(tmp_path, timedelta(days=30), now) == 2
    assert shown(tmp_path) == ["new.csv.receipt.json"]
    assert prune(tmp_path / "missing", timedelta(days=30), now) == 0
    assert prune(tmp_path, timedelta(days=30), now + timedelta(days=31)) == 1
    assert list(tmp_path.iterdir()) == []
