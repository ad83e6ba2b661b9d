"""A seal tells whether bytes are still what was written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.ingest import sealing
from ingestd.ingest.sealing import Broken


@given(st.binary(max_size=200))
def test_what_was_sealed_is_what_is_opened(content: bytes) -> None:
    assert sealing.opened(sealing.sealed(content)) == content
    assert sealing.opened(sealing.sealed(content), expected=False) == content


@given(st.binary(max_size=200), st.data())
def test_no_bit_turns_over_unnoticed(content: bytes, draw: st.DataObject) -> None:
    whole = bytearray(sealing.sealed(content))
    whole[draw.draw(st.integers(0, len(whole) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(Broken):
        sealing.opened(bytes(whole))


@given(st.binary(max_size=200), st.integers(1, 300))
def test_nothing_is_cut_off_unnoticed(content: bytes, lost: int) -> None:
    with pytest.raises(Broken):
        sealing.opened(sealing.sealed(content)[:-lost])


def test_content_without_a_seal_is_opened_only_where_none_is_expected() -> None:
    assert sealing.opened(b"Phone,Name\r\n", expected=False) == b"Phone,Name\r\n"
    with pytest.raises(Broken, match="it has no seal"):
        sealing.opened(b"Phone,Name\r\n")


def test_files_and_buffers_are_sealed_where_they_are(tmp_path: Path) -> None:
    path, buffer = tmp_path / "rows", BytesIO()
    path.write_bytes(b"rows")
    buffer.write(b"rows")
    sealing.seal(path)
    sealing.seal(buffer)
    assert path.read_bytes() == buffer.getvalue() == sealing.sealed(b"rows")
