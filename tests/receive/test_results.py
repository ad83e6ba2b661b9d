"""Results: all parts or none that count, and never somebody else's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestd.receive.results import prune, publish, withdraw


def shown(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_parts_are_written_under_the_file_name(tmp_path: Path) -> None:
    """From bytes or from pieces of them."""
    paths = publish(tmp_path / "results", "x.csv", 7, {"receipt.json": b"{}", "log.csv": [b"line,", b"fate\n"]})
    assert [path.name for path in paths] == ["x.csv.log.csv", "x.csv.receipt.json"]
    assert (tmp_path / "results/x.csv.log.csv").read_bytes() == b"line,fate\n"


def test_the_receipt_comes_last(tmp_path: Path) -> None:
    """Where it is, the others are: a part that fails leaves no receipt and nothing half."""

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "results", "x.csv", 7, {"receipt.json": b"{}", "rejected.csv": broken()})
    assert shown(tmp_path / "results") == []


def test_another_delivery_of_the_name_gets_its_own_names(tmp_path: Path) -> None:
    """The first keeps the plain ones; publishing again changes no names."""
    for delivery, content in ((7, b"7"), (9, b"9"), (7, b"7 again"), (9, b"9 again")):
        publish(tmp_path, "x.csv", delivery, {"receipt.json": content})
    assert shown(tmp_path) == ["x.csv.9.receipt.json", "x.csv.receipt.json"]
    assert (tmp_path / "x.csv.receipt.json").read_bytes() == b"7 again"
    assert (tmp_path / "x.csv.9.receipt.json").read_bytes() == b"9 again"


def test_a_file_that_is_called_like_the_results_of_another_delivery_keeps_its_own(tmp_path: Path) -> None:
    """A partner may send `x.csv.9`: neither is overwritten, and each is published and withdrawn by itself."""
    order = (("x.csv", 7), ("x.csv.9", 8), ("x.csv", 9))
    for name, delivery in (*order, *order):
        publish(tmp_path, name, delivery, {"": b"of %d" % delivery, "receipt.json": b"%d" % delivery})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name.endswith("receipt.json")} == {
        "x.csv.receipt.json": b"7",
        "x.csv.9.receipt.json": b"8",
        "x.csv.9.2.receipt.json": b"9",
    }
    withdraw(tmp_path, "x.csv", 9)
    assert shown(tmp_path) == ["x.csv", "x.csv.9", "x.csv.9.receipt.json", "x.csv.receipt.json"]
    assert (tmp_path / "x.csv.9").read_bytes() == b"of 8"
    withdraw(tmp_path, "x.csv.9", 8)
    assert shown(tmp_path) == ["x.csv", "x.csv.receipt.json"]


def test_without_hard_links_every_delivery_gets_its_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network shares have none; then nobody owns the plain name."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        publish(tmp_path, "x.csv", 7, {"receipt.json": b""})
        assert shown(tmp_path) == ["x.csv.7.receipt.json"]
    withdraw(tmp_path, "x.csv", 7)
    assert shown(tmp_path) == []


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


DAY = timedelta(days=1)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that is not the partner's, with a file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_bytes(b"precious")
    return folder


def test_a_linked_folder_is_neither_written_nor_pruned(tmp_path: Path, elsewhere: Path) -> None:
    """A local partner could have the daemon write or delete where the partner may not."""
    results = tmp_path / "results"
    results.symlink_to(elsewhere)
    with pytest.raises(OSError, match="results is a symbolic link; none is followed") as caught:
        publish(results, "x.csv", 1, {"receipt.json": b""})
    assert caught.value.errno == errno.ELOOP
    with capture_logs() as told:
        assert prune(results, DAY, later()) == 0
    assert [(line["event"], line["path"]) for line in told] == [("result_not_pruned", str(results))]
    assert shown(elsewhere) == ["precious"]


def test_links_to_files_are_not_followed(tmp_path: Path, elsewhere: Path) -> None:
    """What has the name of a part and is not ours stays; an owner that is a link is nobody."""
    results = tmp_path / "results"
    publish(results, "x.csv", 1, {"receipt.json": b"1"})
    (owner,) = results.glob(".*.owner")
    (elsewhere / "precious").write_bytes(b"1")
    owner.unlink()
    owner.symlink_to(elsewhere / "precious")
    (results / "x.csv.1.receipt.json").symlink_to(elsewhere / "precious")
    publish(results, "x.csv", 1, {"receipt.json": b"again"})
    assert (results / "x.csv.1.receipt.json").is_symlink()
    assert (results / "x.csv.1.2.receipt.json").read_bytes() == b"again"
    prune(results, DAY, later())
    assert (elsewhere / "precious").read_bytes() == b"1"
    assert owner.is_symlink()


def test_one_that_cannot_be_pruned_is_told_once_and_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are removed; a folder or a file that another worker removed first is none of it."""
    for number in range(4):
        (tmp_path / f"{number}.csv.receipt.json").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    unlink = os.unlink

    def troubled(name: Any, **where: Any) -> None:
        if str(name).startswith("1"):
            raise PermissionError(errno.EACCES, "Permission denied")
        if str(name).startswith("2"):
            unlink(name, **where)
        unlink(name, **where)

    monkeypatch.setattr(os, "unlink", troubled)
    with capture_logs() as told:
        assert prune(tmp_path, DAY, later()) == 2
        assert prune(tmp_path, DAY, later()) == 0
    stuck = str(tmp_path / "1.csv.receipt.json")
    assert [(line["event"], line["path"], line["reason"]) for line in told] == [
        ("result_not_pruned", stuck, "Permission denied")
    ]
    assert shown(tmp_path) == ["1.csv.receipt.json", "folder"]


def test_a_file_that_vanishes_before_the_look_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers prune at once."""
    (tmp_path / "x.csv.receipt.json").write_bytes(b"")
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: ["gone", *listed(folder)])
    with capture_logs() as told:
        assert prune(tmp_path, DAY, later()) == 1
    assert told == []


def test_the_file_itself_is_a_part_without_a_suffix(tmp_path: Path) -> None:
    """In the next delivery's place it has the number too."""
    for delivery in (1, 2):
        publish(tmp_path, "x.csv", delivery, {"": b"%d" % delivery, "receipt.json": b""})
    assert shown(tmp_path) == ["x.csv", "x.csv.2", "x.csv.2.receipt.json", "x.csv.receipt.json"]
    assert (tmp_path / "x.csv.2").read_bytes() == b"2"


def test_what_lies_there_is_not_replaced(tmp_path: Path) -> None:
    """Whoever has put it there; also when it came after the delivery had the name."""
    (tmp_path / "x.csv").write_bytes(b"theirs")
    publish(tmp_path, "x.csv", 1, {"": b"1"})
    publish(tmp_path, "y.csv", 2, {"": b"2"})
    (tmp_path / "y.csv").write_bytes(b"refused at the door")
    (tmp_path / "y.csv.reason.txt").write_bytes(b"")
    publish(tmp_path, "y.csv", 2, {"": b"2"})
    withdraw(tmp_path, "y.csv", 2)
    assert {path: (tmp_path / path).read_bytes() for path in shown(tmp_path)} == {
        "x.csv": b"theirs",
        "x.csv.1": b"1",
        "y.csv": b"refused at the door",
        "y.csv.reason.txt": b"",
    }


def test_what_is_withdrawn_is_the_delivery_s_own(tmp_path: Path) -> None:
    for delivery in (1, 2, 3):
        publish(tmp_path, "x.csv", delivery, {"": b"", "receipt.json": b"", "log.csv": b""})
    withdraw(tmp_path, "x.csv", 1)
    withdraw(tmp_path, "x.csv", 3)
    assert shown(tmp_path) == ["x.csv.2", "x.csv.2.log.csv", "x.csv.2.receipt.json"]
    withdraw(tmp_path / "missing", "x.csv", 2)


def test_a_refused_file_is_as_old_as_its_reason(tmp_path: Path) -> None:
    """Its own time is the sender's, perhaps of years ago."""
    for name in ("x.csv", "x.csv.reason.txt"):
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / "x.csv", (0, 0))
    assert prune(tmp_path, DAY, datetime.now(UTC)) == 0
    os.utime(tmp_path / "x.csv.reason.txt", (0, 0))
    assert prune(tmp_path, DAY, datetime.now(UTC)) == 2
