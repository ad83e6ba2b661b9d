"""The dispatcher of one machine: what is its own, beside the contract."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from ingestd.dispatch.dispatcher import LONGEST_PAUSE
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from ingestd.store.tables import jobs
from tests.dispatch.serving import Shop, end, named, served

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_worker_that_finds_nothing_does_not_wait_for_a_load(shop: Shop) -> None:
    with writing(shop.engine):  # would wait for a minute if looking took the write lock
        assert served(named(shop, "one"), lambda each: end(shop, each)) == []


def test_an_idle_worker_finds_what_nobody_would_load(shop: Shop) -> None:
    delivery_id = shop.deliver()
    with writing(shop.engine) as connection:
        connection.execute(delete(jobs))
    assert served(named(shop, "one"), lambda each: end(shop, each)) == []
    assert served(named(shop, "one"), lambda each: end(shop, each)) == [delivery_id]


def test_what_killed_its_worker_stands_behind_all_others(shop: Shop, tmp_path: Path) -> None:
    wanted = [shop.deliver(source) for source in "stu"]

    def dies(_: int) -> None:
        raise SystemExit

    for _ in range(2):
        with pytest.raises(SystemExit):
            served(named(shop, "one"), dies)
    assert shop.dispatcher.release() == 2
    assert served(named(shop, "two"), lambda each: end(shop, each)) == [wanted[2], *wanted[:2]]


def test_a_clock_that_was_put_back_stops_no_source(shop: Shop) -> None:
    """What came while it was an hour ahead would wait for an hour, and everything that its source sends later."""
    first = shop.deliver()
    with writing(shop.engine) as connection:
        connection.execute(update(jobs).values(not_before=now() + timedelta(hours=1)))
    wanted = [first, shop.deliver()]
    assert served(named(shop, "one"), lambda each: end(shop, each)) == wanted


def test_what_was_put_off_waits(shop: Shop) -> None:
    shop.deliver()
    with writing(shop.engine) as connection:
        connection.execute(update(jobs).values(not_before=now() + LONGEST_PAUSE))
    assert served(named(shop, "one"), lambda each: end(shop, each)) == []
