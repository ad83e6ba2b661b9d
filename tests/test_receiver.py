"""The receiver's own part; its doors at work are in test_daemon.py."""

from __future__ import annotations

import threading

import pytest

from ingestd.receiver import Closing


def test_doors_close_at_once_and_not_one_after_the_other() -> None:
    together = threading.Barrier(3)
    with Closing() as closing:
        for _ in range(3):
            closing.callback(together.wait, 10)  # raises unless all three are being closed
    assert not together.broken


def test_a_door_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    closed: list[str] = []

    def broken() -> None:
        raise OSError("stuck")

    closing = Closing()
    closing.callback(broken)
    closing.callback(closed.append, "sftp")
    with pytest.raises(OSError, match="stuck"):
        closing.__exit__()
    assert closed == ["sftp"]


def test_without_doors_there_is_nothing_to_close() -> None:
    with Closing():
        pass
