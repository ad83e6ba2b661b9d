"""The house: one home, one store, one process tree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured
from ingestd.house import Lock, open_house, prepare_store
from ingestd.store import organisation
from ingestd.store.engine import reading, sqlite_url, writing
from tests.conftest import ROOT

CONFIG = ROOT / "config"


def test_the_first_start_applies_the_organisation(tmp_path: Path) -> None:
    house = open_house(CONFIG, tmp_path / "home")
    prepare_store(house)
    prepare_store(house)
    with reading(house.engine) as connection:
        assert organisation.version(connection, "organisation") == 1


def test_a_store_of_before_the_statuses_had_rules_gets_them(tmp_path: Path) -> None:
    house = open_house(CONFIG, tmp_path / "home")
    prepare_store(house)
    with writing(house.engine) as connection:
        connection.exec_driver_sql("DELETE FROM configuration_versions WHERE kind = 'statuses'")
        connection.exec_driver_sql("UPDATE statuses SET may_become = '[]', takes_owner = false")
    prepare_store(house)
    with reading(house.engine) as connection:
        query = "SELECT count(*) FROM statuses WHERE takes_owner AND may_become <> '[]'"
        assert connection.exec_driver_sql(query).scalar() == 2


def test_nobody_else_may_look_into_a_new_home(tmp_path: Path) -> None:
    open_house(CONFIG, tmp_path / "home")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(Misconfigured, match="home: home: cannot be made"):
        open_house(CONFIG, tmp_path / "home")


def test_a_home_is_not_opened_with_the_store_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_store(open_house(CONFIG, tmp_path / "one"))
    prepare_store(open_house(CONFIG, tmp_path / "two"))
    monkeypatch.setenv("INGESTD_STORE__URL", sqlite_url(tmp_path / "two"))
    with pytest.raises(Misconfigured, match="do not belong together"):
        prepare_store(open_house(CONFIG, tmp_path / "one"))


@pytest.mark.parametrize("gone", ["ingestd.db", "store-id"])
def test_a_home_that_lost_its_store_or_its_name_is_not_opened(tmp_path: Path, gone: str) -> None:
    prepare_store(open_house(CONFIG, tmp_path / "home"))
    for path in (tmp_path / "home").glob(f"{gone}*"):
        path.unlink()
    with pytest.raises(Misconfigured, match="do not belong together"):
        prepare_store(open_house(CONFIG, tmp_path / "home"))


def test_a_copied_home_is_opened(tmp_path: Path) -> None:
    prepare_store(open_house(CONFIG, tmp_path / "home"))
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    prepare_store(open_house(CONFIG, tmp_path / "copy"))


def test_a_lock_is_held_once_and_freed(tmp_path: Path) -> None:
    places = open_house(CONFIG, tmp_path / "home").places
    first, second = Lock(places), Lock(places)
    assert first.taken()
    assert not second.taken()
    waits: list[float] = []
    with pytest.raises(Misconfigured, match="another ingestd uses this home"):
        second.wait(0.3, waits.append)
    assert waits == [0.1] * len(waits) != []
    first.release()
    assert second.taken()
    second.release()
