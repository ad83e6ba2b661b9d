"""How large the pieces are that a walk along an index reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingestd.leads.walking import LARGEST_PIECE, PIECE_SECONDS, SMALLEST_PIECE, next_size


def test_a_piece_grows_while_it_is_read_in_time_and_shrinks_when_the_disk_is_slow() -> None:
    assert next_size(200, 0.001) == 800
    assert next_size(4_000, 0.001) == LARGEST_PIECE
    assert next_size(8_000, 2.0) == SMALLEST_PIECE
    assert next_size(1_000, 2 * PIECE_SECONDS) == 500


@given(st.integers(SMALLEST_PIECE, LARGEST_PIECE), st.floats(0, 100))
def test_whatever_a_piece_takes_the_next_one_is_in_bounds(size: int, seconds: float) -> None:
    assert SMALLEST_PIECE <= next_size(size, seconds) <= LARGEST_PIECE
