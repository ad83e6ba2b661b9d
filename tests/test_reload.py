"""Reading the configuration anew; the daemon around it is in test_daemon.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured
from ingestd.house import House
from ingestd.reload import differing, reload
from ingestd.settings import DaemonSettings
from ingestd.store import organisation
from ingestd.store.engine import reading
from tests.running import prepared


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with prepared(tmp_path) as opened:
        yield opened


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def versions(house: House) -> tuple[int, int]:
    with reading(house.engine) as connection:
        return organisation.version(connection, "organisation"), organisation.version(connection, "sources")


def test_the_same_configuration_changes_nothing(house: House, tmp_path: Path) -> None:
    done = reload(house, tmp_path / "config")
    assert (done.changes.added, done.changes.changed, done.restart_needed) == (0, 0, [])
    assert versions(house) == (1, 1)


def test_a_changed_source_is_another_version(house: House, tmp_path: Path) -> None:
    rewrite(tmp_path / "config" / "sources.toml", 'login = "stadtwerk"', 'login = "stadtwerk-2"')
    assert reload(house, tmp_path / "config").changes.changed == 1
    assert versions(house) == (1, 2)


def test_a_mapping_to_no_field_is_refused_and_nothing_is_applied(house: House, tmp_path: Path) -> None:
    rewrite(tmp_path / "config" / "sources.toml", 'login = "stadtwerk"', 'login = "stadtwerk-2"')
    rewrite(tmp_path / "config" / "sources.toml", '"ownership_code"', '"no_such_field"')
    with pytest.raises(Misconfigured, match="no field 'no_such_field' exists"):
        reload(house, tmp_path / "config")
    assert versions(house) == (1, 1)


def test_keys_are_named_and_values_are_not() -> None:
    before = DaemonSettings()
    after = DaemonSettings(store={"url": "postgresql://u:secret@h/d"}, ftp={"port": 21, "passive_ports": (1, 2)})
    assert differing(before, after) == ["store.url", "ftp.port", "ftp.passive_ports"]
