"""One thing done with each of many pools, every one by itself."""

from __future__ import annotations

from sqlalchemy import false

from ingestd import dispatch
from ingestd.leads import pool_verbs
from ingestd.leads.pool_verbs import Fate
from ingestd.model import PoolState
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.ledger import Ledger
from tests.leads.conftest import NOON, Desk


def ledger(desk: Desk) -> Ledger:
    return Ledger(engine=desk.engine, submit=dispatch.of(desk.engine).submit)


DEED = Deed(actor=COMMAND_LINE, at=NOON)


def test_what_cannot_be_done_with_one_holds_no_other_up(desk: Desk) -> None:
    first, second = desk.pool(), desk.pool(state=PoolState.INACTIVE)
    assert pool_verbs.each(ledger(desk), DEED, "activate", [first, 99, second, second], false()) == [
        Fate(number=first, done=False, told=f"pool {first} is Active; only a pool that is Inactive becomes Active"),
        Fate(number=99, done=False, told="there is no pool 99"),
        Fate(number=second, done=True, told="it is active: its leads are given out"),
    ]


def test_it_is_told_what_happened(desk: Desk) -> None:
    first, _second = desk.leads({}, {})
    desk.change(first, "manual_redial_vip")
    pool = desk.lead(first).pool_id
    told = [pool_verbs.each(ledger(desk), DEED, verb, [pool], false())[0].told for verb in ("deactivate", "shuffle")]
    assert told == [
        "it is inactive: only its VIP and Private redials are given out",
        "2 leads are in a random order now",
    ]
    (emptied,) = pool_verbs.each(ledger(desk), DEED, "delete_unprocessed", [pool], false())
    assert emptied.told == "1 unprocessed leads were deleted; kept: 1 processed"


def test_what_became_of_no_file_cannot_be_undone(desk: Desk) -> None:
    (first,) = desk.leads({})
    (fate,) = pool_verbs.each(ledger(desk), DEED, "undo", [desk.lead(first).pool_id], false())
    assert (fate.done, "became of no file" in fate.told) == (False, True)
