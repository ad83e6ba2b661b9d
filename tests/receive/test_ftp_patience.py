"""How many useless commands are put up with, with a clock that the test turns."""

from __future__ import annotations

from ingestd.receive.ftp_patience import MOST_BEFORE_LOGIN, MOST_TOLD, MOST_USELESS, Patience


def test_patience_is_lost_without_a_login() -> None:
    """A login gives it back."""
    patience = Patience()
    for _ in range(MOST_BEFORE_LOGIN - 1):
        patience.asked(logged_in=False)
    assert not patience.lost
    patience.asked(logged_in=True)
    patience.asked(logged_in=False)
    assert not patience.lost
    for _ in range(MOST_BEFORE_LOGIN):
        patience.asked(logged_in=False)
    assert patience.lost


def test_patience_is_lost_with_wrong_commands_in_a_row() -> None:
    """One good command gives it back."""
    patience = Patience()
    for code in (*["500"] * (MOST_USELESS - 1), "200", *["530"] * (MOST_USELESS - 1)):
        patience.answered(code)
    assert not patience.lost
    patience.answered("501")
    assert patience.lost


def test_so_many_are_told_each_minute() -> None:
    """The rest is counted until it is asked for."""
    now = [1000.0]
    patience = Patience(clock=lambda: now[0])
    assert [patience.tells() for _ in range(MOST_TOLD + 2)] == [True] * MOST_TOLD + [False] * 2
    now[0] += 61.0
    assert patience.tells()
    assert patience.forget_untold() == 2
    assert patience.forget_untold() == 0
