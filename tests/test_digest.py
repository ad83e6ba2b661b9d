"""The digest beside: the same as hashlib's, whatever the pieces, and bounded in what may wait."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import digest
from ingestd.digest import Digest

POOL = ThreadPoolExecutor(2)


@given(sizes=st.lists(st.sampled_from([0, 1, 1_000, digest.LARGE - 1, digest.LARGE, 3 * digest.LARGE]), max_size=12))
def test_it_is_the_sha256_of_all_pieces(sizes: list[int]) -> None:
    pieces = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    made = Digest(POOL)
    for piece in pieces:
        made.update(piece)
    assert made.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_it_can_be_asked_in_between() -> None:
    made = Digest(POOL)
    for number in range(1, 4):
        made.update(b"x" * digest.LARGE)
        assert made.hexdigest() == hashlib.sha256(b"x" * digest.LARGE * number).hexdigest()


def test_a_sender_that_is_too_quick_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hashes at first; the piece too many is only taken when somebody has."""
    monkeypatch.setattr(digest, "MOST_WAITING", 2 * digest.LARGE)
    go_on, held = threading.Event(), ThreadPoolExecutor(1)
    held.submit(go_on.wait)
    made = Digest(held)
    sender = threading.Thread(target=lambda: [made.update(b"x" * digest.LARGE) for _ in range(10)])
    sender.start()
    sender.join(0.2)
    assert sender.is_alive()
    assert made._waiting <= 3 * digest.LARGE
    go_on.set()
    sender.join(10)
    assert made.hexdigest() == hashlib.sha256(b"x" * digest.LARGE * 10).hexdigest()
    held.shutdown()


def test_many_files_share_the_threads() -> None:
    made = [Digest(POOL) for _ in range(20)]
    for number in range(10):
        for each, one in enumerate(made):
            one.update(bytes([each, number]) * digest.LARGE)
    for each, one in enumerate(made):
        whole = b"".join(bytes([each, number]) * digest.LARGE for number in range(10))
        assert one.hexdigest() == hashlib.sha256(whole).hexdigest()
