"""One landing: durable, then recorded, then told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Unavailable
from ingestd.model import Arrival
from ingestd.receive import names
from ingestd.receive.landing import DOUBT_SECONDS, Landing, Receipt
from ingestd.spool import Landed, Recorded, Spool, Swept
from tests.receive.receiving import MemoryLedger, Rings, files_below


def arrival(name: str = "x.csv") -> Arrival:
    return Arrival(source="acme", login="acme", peer="local", protocol="test", name=name)


def land(landing: Landing, content: bytes, name: str = "x.csv") -> Receipt:
    incoming = landing.open(1000)
    incoming.write(content)
    return landing.accept(incoming, arrival(name))


def test_a_file_is_recorded_when_its_bytes_are_safe(landing: Landing, ledger: MemoryLedger, spool: Spool) -> None:
    """The ledger sees the file in its final place, and the lock of the landing on it."""
    swept: list[Swept] = []
    ledger.before = lambda: swept.append(spool.sweep(lambda _: False))
    receipt = land(landing, b"content")
    (_, landed), *_ = ledger.rows
    assert spool.read(landed.key) == b"content"
    assert swept == [Swept()]
    assert receipt == Receipt(delivery_id=1, size=7, sha256=landed.sha256)


def test_the_workers_are_rung_once(landing: Landing, ledger: MemoryLedger, rings: Rings) -> None:
    """After the row, and not for a duplicate."""
    ledger.after = lambda: rings.count == 0 or pytest.fail("rung before the row")
    land(landing, b"content")
    ledger.after = lambda: None
    land(landing, b"content")
    assert rings.count == 1


def test_a_duplicate_names_the_first_and_keeps_no_bytes(landing: Landing, tmp_path: Path) -> None:
    """It is answered, not loaded."""
    land(landing, b"content")
    receipt = land(landing, b"content")
    assert receipt.duplicate_of == 1
    assert str(receipt).startswith("duplicate of delivery 1: 7 bytes, sha256 ")
    assert len(files_below(tmp_path / "spool")) == 1


def test_the_same_name_with_other_bytes_is_a_new_version(landing: Landing, ledger: MemoryLedger) -> None:
    """Nothing is overwritten."""
    land(landing, b"one")
    land(landing, b"two")
    assert [said.previous_version for said in ledger.recorded] == [None, 1]
    assert len(ledger.loaded()) == 2


def test_nothing_is_kept_when_the_store_is_away(
    landing: Landing, ledger: MemoryLedger, rings: Rings, tmp_path: Path
) -> None:
    """The sender hears "try again", so the bytes would lie around for ever."""
    ledger.away = True
    with pytest.raises(Unavailable):
        land(landing, b"content")
    assert files_below(tmp_path / "spool") == []
    assert rings.count == 0


def test_bytes_stay_when_the_row_was_written_after_all(landing: Landing, ledger: MemoryLedger, spool: Spool) -> None:
    """A connection that breaks after COMMIT looks like a failure; removing the bytes would lose the delivery."""

    def broken() -> None:
        raise Unavailable("connection lost")

    ledger.after = broken
    with pytest.raises(Unavailable):
        land(landing, b"content")
    (_, landed), *_ = ledger.rows
    assert spool.has(landed.key)
    ledger.after = lambda: None
    assert land(landing, b"content").duplicate_of == 1


def test_bytes_stay_when_nobody_knows(spool: Spool, tmp_path: Path) -> None:
    """The next start's sweep asks again, and puts them aside when no row names them."""

    class Away:
        def record(self, *_: object, **__: object) -> Recorded:
            raise Unavailable("away")

        def known_spool_key(self, _key: str) -> bool:
            raise Unavailable("still away")

    with pytest.raises(Unavailable):
        land(Landing(spool, Away(), lambda: None), b"content")
    assert len(files_below(tmp_path / "spool")) == 1
    assert spool.sweep(lambda _: False).orphans == 1
    assert len(files_below(tmp_path / "spool" / "orphans")) == 1


def test_bytes_that_nobody_knew_are_looked_at_again_when_the_store_is_back(spool: Spool, tmp_path: Path) -> None:
    class Flaky(MemoryLedger):
        """Writes the row of the second file before the connection breaks."""

        broken = True

        def record(self, arrival: Arrival, landed: Landed, **facts: Any) -> Recorded:
            if arrival.name == "written.csv":
                super().record(arrival, landed, **facts)
            raise Unavailable("away")

        def known_spool_key(self, key: str) -> bool:
            if self.broken:
                raise Unavailable("still away")
            return super().known_spool_key(key)

    ledger, moment = Flaky(), [0.0]
    landing = Landing(spool, ledger, lambda: None, clock=lambda: moment[0])
    for name in ("lost.csv", "written.csv"):
        with pytest.raises(Unavailable):
            land(landing, name.encode(), name)
    assert landing.settle_doubts() == 0  # too early: the database may still be at it
    moment[0] = DOUBT_SECONDS
    with pytest.raises(Unavailable):
        landing.settle_doubts()
    ledger.broken = False
    assert landing.settle_doubts() == 2
    assert [path.read_bytes() for path in files_below(tmp_path / "spool")] == [b"written.csv"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [("leads.csv", "leads.csv"), ("r\udce9sum\udce9.csv", "résumé.csv"), ("\udc80.csv", "€.csv"), ("é.csv", "é.csv")],
)
def test_names_become_text(raw: str, text: str) -> None:
    """UTF-8 where it is UTF-8, else Windows-1252."""
    assert names.label(raw) == text


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\nb", "a\0b", "a\x7fb", "a\u2028b", "é" * 91, "a\u202evsc.exe", "\u2067x"]
)
def test_names_that_are_refused(name: str) -> None:
    """They would break replies, logs or listings."""
    assert names.problem(name)


def test_names_of_other_scripts_are_fine() -> None:
    """With the joiners and marks that belong to their spelling."""
    for name in ("\u0646\u0645\u200c\u0647.csv", "\u0915\u094d\u200d\u0937.csv", "\u05d3\u200f.csv", "résumé.csv"):
        assert names.problem(name) == ""


@pytest.mark.parametrize("name", ["x.part", "x.csv.FILEPART", ".in.x.csv", "~$x.xlsx", "x.csv~", "x.crdownload"])
def test_names_that_are_not_final(name: str) -> None:
    """Their senders will rename them."""
    assert names.is_partial(name)
    assert not names.is_partial("part.csv")


@pytest.mark.parametrize("raw", ["n" * 251 + ".csv", "é" * 125 + ".csv", "\udce9" * 250 + ".csv", "n." + "x" * 253])
def test_names_that_are_too_long_are_shortened(raw: str) -> None:
    """With room for what is put behind them, as whole characters, and different where the names were."""
    short, other = names.shortened(raw), names.shortened(f"m{raw[1:]}")
    assert len(short.encode("utf-8", "surrogateescape")) <= names.LONGEST
    assert short.endswith(".csv") == raw.endswith(".csv")
    assert short[:60] == raw[:60]
    assert short[1:] != other[1:]
    assert names.shortened("x.csv") == "x.csv"
