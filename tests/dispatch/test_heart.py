"""The heart of a worker: what ends it ends the worker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingestd.dispatch.heart import Heart
from tests.dispatch.serving import Shop
from tests.running import until

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_a_bug_in_the_heart_is_raised_where_the_worker_ends_by_it(shop: Shop) -> None:
    rung: list[bool] = []

    def broken() -> None:
        raise ZeroDivisionError

    heart = Heart(
        engine=shop.engine,
        dead=timedelta(seconds=2),
        ring=lambda: rung.append(True),
        sweep=broken,
        reconcile=lambda: None,
    )
    with heart:
        until(lambda: rung, "the worker to be woken")
        with pytest.raises(ZeroDivisionError):
            heart.check()
