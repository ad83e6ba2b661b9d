"""What is decided about a delivery that must be tried again."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingestd.dispatch.dispatcher import LONGEST_PAUSE, pause_after

FIRST = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(minutes=1))


@given(epoch=st.integers(0, 10_000), first=FIRST)
def test_each_pause_is_twice_the_one_before_up_to_the_longest(epoch: int, first: timedelta) -> None:
    pause, following = pause_after(epoch, first), pause_after(epoch + 1, first)
    assert pause == first if epoch <= 1 else first < pause <= LONGEST_PAUSE
    assert pause <= following <= 2 * pause
    assert epoch == 0 or following in (2 * pause, LONGEST_PAUSE, first * 1024)
