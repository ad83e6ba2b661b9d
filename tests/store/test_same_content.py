"""The same bytes under two names, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, update

from ingestd import dispatch
from ingestd.model import Arrival, State
from ingestd.spool import Landed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Ledger
from ingestd.store.same_content import same_content
from ingestd.store.tables import deliveries


@pytest.fixture
def ledger(organised: Engine) -> Ledger:
    return Ledger(engine=organised, submit=dispatch.of(organised).submit)


def landed(ledger: Ledger, name: str, state: State, folder: str = "") -> int:
    """A file with always the same bytes; its number."""
    arrival = Arrival(source="nordlead", login="n", peer="p", protocol="ftp", name=name, folder=folder)
    number = ledger.record(arrival, Landed(key=name, size=1, sha256="a" * 64)).delivery_id
    with writing(ledger.engine) as connection:
        connection.execute(update(deliveries).where(deliveries.c.id == number).values(state=state))
    return number


def same_as(ledger: Ledger, number: int) -> int | None:
    delivery = ledger.get(number)
    assert delivery is not None
    with reading(ledger.engine) as connection:
        return same_content(connection, delivery)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.AWAITING_CONFIRMATION, State.COMPLETED])
def test_the_first_delivery_with_the_same_bytes_is_named(ledger: Ledger, state: State) -> None:
    first, other = landed(ledger, "x.csv", state), landed(ledger, "copy.csv", State.RUNNING)
    assert same_as(ledger, other) == first
    assert same_as(ledger, landed(ledger, "x.csv", State.RUNNING, folder="DK-FIBRE")) is None


@pytest.mark.parametrize("state", [State.RECEIVED, State.REFUSED, State.FAILED, State.CANCELLED, State.DUPLICATE])
def test_one_that_may_never_be_loaded_is_in_nobody_s_way(ledger: Ledger, state: State) -> None:
    """Such as one that waits for its proof. When it is let in after all, the other one has been loaded."""
    first, other = landed(ledger, "x.csv", state), landed(ledger, "copy.csv", State.RUNNING)
    assert (same_as(ledger, first), same_as(ledger, other)) == (None, None)
    with writing(ledger.engine) as connection:
        connection.execute(
            update(deliveries).where(deliveries.c.id == other).values(state=State.COMPLETED_WITH_REJECTS)
        )
    assert same_as(ledger, first) == other
