"""The house: one home, one store, one process tree."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured
from ingestd.house import House, Lock, home_id, open_house
from ingestd.preparing import pairing, prepare_store
from ingestd.store import organisation
from ingestd.store.engine import reading, sqlite_url, writing
from tests.conftest import Postgres
from tests.databases import ROOT

CONFIG = ROOT / "config"


@contextmanager
def opened(home: Path) -> Iterator[House]:
    house = open_house(CONFIG, home)
    try:
        yield house
    finally:
        house.engine.dispose()


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
    advice = "put the database back, or restore a backup" if gone == "ingestd.db" else "the store it was made with"
    with pytest.raises(Misconfigured, match=f"do not belong together.*{advice}"):
        prepare_store(open_house(CONFIG, tmp_path / "home"))


@pytest.mark.parametrize(
    ("home", "store", "alone", "shared"),
    [
        (None, None, "fresh", "fresh"),
        ("a", "a", "paired", "paired"),
        ("a", "b", None, None),
        ("a", None, None, None),
        (None, "a", None, "joins"),
    ],
)
def test_a_fresh_home_joins_a_store_only_when_files_are_shared(
    home: str | None, store: str | None, alone: str | None, shared: str | None
) -> None:
    assert pairing(home, store, shared=False) == alone
    assert pairing(home, store, shared=True) == shared


@pytest.fixture
def server(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database that has no tables yet, set for every home."""
    url = postgres.new_database()
    monkeypatch.setenv("INGESTD_STORE__URL", url)
    return url


@pytest.mark.usefixtures("server")
def test_a_second_home_on_a_server_is_refused_while_files_are_local(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        prepare_store(one)
        with pytest.raises(Misconfigured, match=r"several homes need PostgreSQL and storage\.url"):
            prepare_store(two)
        assert not two.places.store.exists()


@pytest.mark.usefixtures("server")
def test_homes_that_share_files_share_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("INGESTD_STORAGE__URL", (tmp_path / "shared").as_uri())
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        prepare_store(one)
        prepare_store(two)
        prepare_store(two)
        assert one.places.store.read_text() == two.places.store.read_text()
        assert home_id(one.places) == home_id(one.places) != home_id(two.places)


@pytest.mark.usefixtures("server")
def test_nodes_that_start_at_once_migrate_and_apply_the_organisation_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("INGESTD_STORAGE__URL", (tmp_path / "shared").as_uri())
    together = threading.Barrier(4)
    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        houses = [stack.enter_context(opened(tmp_path / str(number))) for number in range(4)]

        def start(house: House) -> None:
            together.wait()
            prepare_store(house)

        list(threads.map(start, houses))  # raises what any of them met
        with reading(houses[0].engine) as connection:
            assert organisation.version(connection, "organisation") == 1
        assert len({house.places.store.read_text() for house in houses}) == 1


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
