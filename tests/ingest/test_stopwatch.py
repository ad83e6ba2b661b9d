"""The stopwatch of the road."""

from __future__ import annotations

from ingestd.ingest.stopwatch import Stopwatch


def test_stages_add_up_and_a_running_one_counts_so_far() -> None:
    moments = iter([0.0, 2.0, 2.0, 3.0, 10.0, 10.5])
    watch = Stopwatch(clock=lambda: next(moments))
    with watch.stage("screen"):
        pass
    with watch.stage("screen"):
        pass
    assert watch.total == 3.0
    with watch.stage("load"):
        assert watch.seconds() == {"screen": 3.0, "load": 0.5}
        moments = iter([11.0])
