"""Drafts: kept safely, seen by nobody else, never a delivery, and gone after a day."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestd.errors import Missing
from ingestd.receive import drafts
from ingestd.receive.drafts import Draft
from ingestd.spool import Spool

NOON = datetime(2026, 11, 24, 12, 0, 0, 500, tzinfo=UTC)
LINES = b"phone,city\r\n+4528123456,Aarhus\r\n"


def kept(spool: Spool, content: bytes = LINES, at: datetime = NOON) -> Draft:
    facts = {"user_id": 7, "campaign": "DK-ENERGY", "owner": "team:denmark", "name": "leads.csv"}
    with closing(spool.open(limit=1000)) as incoming:
        incoming.write(content)
        return drafts.keep(spool, incoming, at, **facts)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", reserve_bytes=0)


def test_a_draft_is_found_again_with_its_bytes(spool: Spool) -> None:
    draft = kept(spool)
    assert drafts.get(spool, draft.number, 7, NOON) == draft
    assert (draft.size, draft.uploaded_at) == (len(LINES), NOON.replace(microsecond=0))
    assert b"".join(drafts.pieces(spool, draft)) == LINES
    with closing(drafts.copy(spool, draft)) as incoming:
        assert (incoming.size, incoming.digest()) == (draft.size, draft.sha256)


def test_an_empty_file_is_a_draft_too(spool: Spool) -> None:
    draft = kept(spool, b"")
    with closing(drafts.copy(spool, draft)) as incoming:
        assert incoming.size == 0


def test_it_is_no_delivery_and_a_sweep_of_deliveries_leaves_it(spool: Spool) -> None:
    draft = kept(spool)
    assert list(spool.keys()) == []
    spool.sweep(lambda _key: False)
    assert drafts.get(spool, draft.number, 7, NOON) == draft
    assert b"".join(drafts.pieces(spool, draft)) == LINES


@pytest.mark.parametrize("number", ["", "x", "../../etc", "20261124T120000-" + "0" * 32, "99999999T999999-" + "0" * 32])
def test_what_is_no_draft_is_missing(spool: Spool, number: str) -> None:
    with pytest.raises(Missing, match="not there any more"):
        drafts.get(spool, number, 7, NOON)


def test_it_is_nobody_elses(spool: Spool) -> None:
    with pytest.raises(Missing):
        drafts.get(spool, kept(spool).number, 8, NOON)


def test_a_day_later_it_is_gone(spool: Spool, tmp_path: Path) -> None:
    old, new = kept(spool), kept(spool, at=NOON + timedelta(hours=3))
    later = NOON + timedelta(days=1, seconds=1)
    with pytest.raises(Missing):
        drafts.get(spool, old.number, 7, later)
    assert drafts.sweep(spool, later) == 1
    assert drafts.sweep(spool, later) == 0
    assert [found.key for found in spool.drafts.found("files")] == [f"files/{new.number}"]
    assert [path.name for path in (tmp_path / "spool/drafts/facts").iterdir()] == [new.number]
    assert drafts.get(spool, new.number, 7, later) == new


def test_one_whose_file_went_is_missing(spool: Spool) -> None:
    draft = kept(spool)
    drafts.discard(spool, draft.number)
    with pytest.raises(Missing):
        drafts.get(spool, draft.number, 7, NOON)
    with pytest.raises(Missing):
        drafts.copy(spool, draft)
    assert drafts.sweep(spool, NOON + timedelta(days=2)) == 0
