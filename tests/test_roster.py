"""What the supervisor writes of its roles is what others read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from ingestd import roster
from ingestd.roster import RoleState, Roster


def test_what_is_written_is_read(tmp_path: Path) -> None:
    moment = roster.now()
    running = RoleState(name="web", state="running", pid=7, since=moment, beat_at=moment, restarts=2)
    down = RoleState(name="worker-1", state="down", pid=None, since=None, beat_at=None, restarts=0)
    known = Roster(pid=1, since=moment, written_at=moment, roles=(running, down))
    roster.write(tmp_path / "run" / "roles.json", known)
    assert roster.read(tmp_path / "run" / "roles.json") == known
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["roles.json"]
    assert known.age(moment + timedelta(seconds=3)) == 3.0


def test_without_a_daemon_there_is_none(tmp_path: Path) -> None:
    assert roster.read(tmp_path / "roles.json") is None
