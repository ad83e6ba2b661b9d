"""When a daemon is ready."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ingestd import roster
from ingestd.roster import RoleState, Roster
from ingestd.web import health
from ingestd.web.observer import Observation

NOW = roster.now()
RECEIVER = RoleState(name="receiver", state="running", pid=2, since=NOW, beat_at=NOW, restarts=0)
WORKER = replace(RECEIVER, name="worker-1", pid=3)
ROSTER = Roster(pid=1, since=NOW, written_at=NOW, roles=(RECEIVER, WORKER))
WELL = Observation(
    at=NOW,
    queue={"ready": 0, "running": 1, "oldest_seconds": 0.0},
    spool_free=10**10,
    doors={"ftp": {"host": "127.0.0.1", "port": 21}},
    roster=ROSTER,
)


def failing(seen: Observation) -> dict[str, str]:
    return {check.name: check.told for check in health.checks(seen) if not check.ok}


def test_everything_is_well() -> None:
    assert failing(WELL) == {}
    assert [check.name for check in health.checks(WELL)] == [
        "database", "storage", "disk", "doors", "supervisor", "receiver", "worker-1", "queue",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"room": False}, "disk"),
        ({"doors": {}}, "doors"),
        ({"queue": {"ready": 9, "running": 1, "oldest_seconds": 901.0}}, "queue"),
        ({"roster": replace(ROSTER, roles=(replace(RECEIVER, state="stuck"), WORKER))}, "receiver"),
        ({"roster": replace(ROSTER, roles=(RECEIVER, replace(WORKER, state="down")))}, "worker-1"),
        ({"roster": None}, "supervisor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_thing_that_is_wrong_is_named_alone(changed: dict[str, Any], check: str) -> None:
    assert list(failing(replace(WELL, **changed))) == [check]


def test_without_a_database_the_queue_is_unknown() -> None:
    seen = replace(WELL, store_problem="the database does not answer", queue={})
    assert failing(seen) == {"database": "the database does not answer", "queue": "unknown without the database"}


def test_a_long_queue_that_moves_is_no_problem() -> None:
    assert failing(replace(WELL, queue={"ready": 10_000, "running": 4, "oldest_seconds": 899.0})) == {}


def test_nobody_is_up_when_the_supervisor_is_silent() -> None:
    later = replace(WELL, at=NOW + timedelta(seconds=health.SILENT_SECONDS + 1))
    assert list(failing(later)) == ["supervisor", "receiver", "worker-1"]
    assert health.up(ROSTER, later) == {"receiver": False, "worker-1": False}
    assert health.up(ROSTER, WELL) == {"receiver": True, "worker-1": True}
