"""Answers of the FTP door to what goes wrong after a file has come: parked, kept and renamed files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingestd.receive.ftp_transfer import TransferCommands
from ingestd.receive.landing import Landing
from ingestd.spool import Incoming
from tests.receive.ftp_wire import ROWS, Wire


def test_a_parked_file_that_is_gone_at_once_is_answered(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, audited: list[Any]
) -> None:
    """Another session can delete it between its parking and the answer."""
    park = Incoming.park

    def gone(self: Incoming, target: Path) -> None:
        park(self, target)
        target.unlink()

    monkeypatch.setattr(Incoming, "park", gone)
    wire.say(b"ALLO %d" % len(ROWS))
    assert wire.store(b"x.part").startswith(b"226 kept until")
    assert wire.say(b"NOOP").startswith(b"200")
    assert "ftp_fault" not in [line["event"] for line in audited]


def test_a_fault_after_keeping_or_renaming_is_answered(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, audited: list[Any]
) -> None:
    """A session without an answer would hang until its client gives up."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(TransferCommands, "parked", fail)
        assert wire.store(b"x.part").startswith(b"451")
    assert wire.say(b"RNFR x.part").startswith(b"350")
    with monkeypatch.context() as patch:
        patch.setattr(TransferCommands, "_landed", fail)
        assert wire.say(b"RNTO x.csv").startswith(b"451")
    assert wire.say(b"NOOP").startswith(b"200")
    assert [line["event"] for line in audited if "fault" in line["event"]] == ["ftp_upload_fault", "ftp_fault"]


def test_a_fault_in_landing_a_renamed_file_is_told(
    wire: Wire, landing: Landing, audited: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With where it came from, as for files that are sent under their final names."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(landing, "accept", fail)
    assert wire.store(b"x.part").startswith(b"226")
    wire.say(b"RNFR x.part")
    assert wire.say(b"RNTO x.csv").startswith(b"451")
    (fault,) = [line for line in audited if line["event"] == "ftp_upload_fault"]
    assert (fault["name"], fault["renamed"]) == ("x.csv", True)
    assert isinstance(fault["exc_info"], RuntimeError)
