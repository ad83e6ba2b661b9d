"""A pool is undone as long as nobody has worked with it, and its file is run again in the same breath."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, false, func, select, update

from ingestd import samples
from ingestd.errors import Conflict, Invalid, Missing, Rejected
from ingestd.leads import anonymise, dialling, editing, reruns, undoing
from ingestd.leads.reruns import Places, Rerun, Wish
from ingestd.leads.undoing import Prospect
from ingestd.model import Delivery, PoolState, State
from ingestd.store import audit, pools, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.lead_tables import lead_events
from ingestd.store.ledger import now
from tests.databases import ROOT
from tests.ingest.conftest import Station
from tests.leads.conftest import MINUTE, NOON
from tests.leads.conftest import Desk as Leads

DEED = Deed(actor=COMMAND_LINE, at=NOON, why="asked")
AGENT = "copenhagen-1"
FOR_ALL = b"Phone,First name,Owner code\r\n26000001,Anna,DK\r\n26000002,Bo,DK\r\n"


@pytest.fixture
def station(organised: Engine, tmp_path: Path) -> Station:
    return Station.at(organised, tmp_path)


def undo(station: Station, delivery: Delivery) -> undoing.Undone:
    assert delivery.pool_id is not None
    told = look(station, delivery)
    with writing(station.engine) as connection:
        gone = undoing.undo(connection, DEED, delivery.pool_id, station.road.ledger, false())
    assert told == Prospect(leads=gone.deleted, refusal=None)
    return gone


def look(station: Station, delivery: Delivery) -> Prospect:
    with reading(station.engine) as connection:
        return reruns.look(connection, NOON, delivery, station.road.ledger, false())


def places(station: Station) -> Places:
    road = station.road
    return Places(engine=station.engine, ledger=road.ledger, spool=road.spool, schemas=ROOT / "schemas")


def rerun(station: Station, delivery: Delivery, **wish: Any) -> Rerun:
    return reruns.rerun(places(station), DEED, delivery.id, Wish(**wish), false())


def pool(station: Station, delivery: Delivery) -> dict[str, Any]:
    assert delivery.pool_id is not None
    with reading(station.engine) as connection:
        found = pools.one(connection, delivery.pool_id)
    assert found is not None
    return found


def conflict(station: Station, delivery: Delivery) -> tuple[str, Any]:
    before, seen = station.leads(), look(station, delivery).refusal
    with pytest.raises(Conflict) as told:
        undo(station, delivery)
    assert seen is None or (seen.code, seen.facts) == (told.value.code, told.value.facts)
    assert seen is not None or delivery.state not in reruns.LOADED
    assert station.leads() == before
    assert station.known(delivery.id) == delivery
    return told.value.code, told.value.facts.get("kept")


def test_a_file_of_which_nothing_was_loaded_is_run_again_as_any_other(station: Station) -> None:
    delivery = station.deliver(b"Phone,Call me at\r\nnone,26000001\r\n", source="fibreweb", name="x_DK-AAR_1.csv")
    assert (delivery.counts.rejected, pool(station, delivery)["state"]) == (1, PoolState.UPLOAD_FAILED)
    assert look(station, delivery) == Prospect(leads=0, refusal=None)
    done = rerun(station, delivery, mapping={"Phone": "", "Call me at": "phone"})
    assert done.undone is not None
    assert done.undone.deleted == 0
    station.road.travel(done.delivery_id)
    assert station.known(done.delivery_id).counts.inserted == 1


def test_an_undone_pool_has_no_leads_and_everything_else_stays(station: Station) -> None:
    kept = station.deliver(samples.clean(20, start=5_000), name="other.csv")
    delivery = station.deliver(samples.clean(30))
    station.publisher.sweep()
    log = station.rows(delivery)
    assert undo(station, delivery) == undoing.Undone(pool_id=delivery.pool_id or 0, delivery_id=delivery.id, deleted=30)
    assert len(station.leads()) == len(station.leads(kept)) == 20
    after = station.known(delivery.id)
    assert (after.state, after.reason_code, after.counts, after.published_at) == (
        State.CANCELLED, "undone", delivery.counts, None,
    )  # fmt: skip
    assert (pool(station, delivery)["state"], pool(station, delivery)["total"]) == (PoolState.UNDONE, 0)
    assert station.count_receipts(delivery) == 1
    assert station.rows(after) == log
    assert station.download(after, "original") == samples.clean(30)
    with reading(station.engine) as connection:
        (line,) = audit.latest(connection, limit=1, subject=f"pool:{delivery.pool_id}")
    assert (line.action, line.after, line.why) == (
        "pool_undone", {"state": "Undone", "deleted": 30, "delivery": delivery.id}, "asked",
    )  # fmt: skip
    station.publisher.sweep()
    told = (station.home / "homes/nordlead/results").glob("*receipt.json")
    assert any('"undone"' in path.read_text() for path in told)


def test_what_was_undone_is_neither_undone_nor_retried_but_may_come_again(station: Station) -> None:
    delivery = station.deliver(FOR_ALL)
    undo(station, delivery)
    assert conflict(station, station.known(delivery.id)) == ("pool_state", None)
    with pytest.raises(Rejected, match="was loaded and undone"):
        station.road.ledger.retry(delivery.id)
    again = station.deliver(FOR_ALL)
    assert (again.state, again.counts.inserted) == (State.COMPLETED, 2)
    station.check_balance(again)


def test_what_was_sent_twice_may_be_undone_and_come_again_or_be_run_again(station: Station) -> None:
    """The duplicate was never loaded."""
    delivery = station.deliver(FOR_ALL)
    assert station.known(station.land(FOR_ALL)).state is State.DUPLICATE
    undo(station, delivery)
    again = station.deliver(FOR_ALL)
    assert (again.state, again.counts.inserted) == (State.COMPLETED, 2)
    assert station.known(station.land(FOR_ALL)).duplicate_of == again.id
    done = rerun(station, again)
    station.road.travel(done.delivery_id)
    assert (station.known(done.delivery_id).state, len(station.leads())) == (State.COMPLETED, 2)


def test_leads_that_somebody_worked_with_hold_their_pool(station: Station) -> None:
    delivery, leads = station.deliver(FOR_ALL), Leads(engine=station.engine)
    first, second = (lead["id"] for lead in station.leads())
    leads.set("leads", "id", first, locked_by_id=1, locked_until=NOON + MINUTE)
    assert conflict(station, delivery) == ("pool_in_use", {"locked": 1})
    leads.set("leads", "id", first, locked_until=NOON)
    leads.change(second, "not_interested", call=True)
    assert conflict(station, delivery) == ("pool_in_use", {"called": 1})
    leads.set("leads", "id", second, attempts=0, called_at=None)
    assert conflict(station, delivery) == ("pool_in_use", {"changed": 1})


def test_a_lead_that_was_held_and_given_back_holds_nothing(station: Station) -> None:
    done, at_desk = station.deliver(FOR_ALL), Leads(engine=station.engine)
    shift = dialling.start(station.engine, AGENT, "DK-ENERGY", NOON)
    given, _ = dialling.next_lead(station.engine, shift, NOON)
    assert given is not None
    with writing(station.engine) as connection:
        editing.unlock(connection, given.id, by=shift.agent.id, at=NOON)
    at_desk.change(given.id, "expired", None)  # by a rule
    assert undo(station, done).deleted == 2


def test_what_was_done_beside_a_lock_holds_the_pool(station: Station) -> None:
    done, at_desk = station.deliver(FOR_ALL), Leads(engine=station.engine)
    (number, *_) = (lead["id"] for lead in station.leads())
    held = {"locked_by_id": at_desk.owner(f"user:{AGENT}"), "locked_until": NOON + MINUTE}
    at_desk.set("leads", "id", number, **held)
    at_desk.change(number, "removed", AGENT)  # the same change tells of the lock, and of the status
    assert conflict(station, done) == ("pool_in_use", {"changed": 1})


def test_what_rules_of_time_did_holds_nothing(station: Station) -> None:
    delivery, leads = station.deliver(FOR_ALL), Leads(engine=station.engine)
    for lead in station.leads():
        leads.change(lead["id"], "expired", None)
    assert undo(station, delivery).deleted == 2
    with reading(station.engine) as connection:
        assert connection.scalar(select(func.count()).select_from(lead_events)) == 0


def test_an_anonymised_lead_is_blanked_in_the_file_of_the_run_that_was_undone_too(station: Station) -> None:
    first = station.deliver(FOR_ALL)
    done = rerun(station, first)
    station.road.travel(done.delivery_id)
    road, (anna, _bo) = station.road, station.leads()
    where = anonymise.Places(
        engine=station.engine, ledger=road.ledger, spool=road.spool, logs=road.logs, schemas=ROOT / "schemas"
    )
    told = anonymise.anonymise(where, anna["id"], by=station.owner("user:admin"), at=NOON)
    assert [each.delivery_id for each in told.erased] == [first.id, done.delivery_id]
    assert told.left == ()
    for number in (first.id, done.delivery_id):
        original = station.download(station.known(number), "original")
        assert b"26000001" not in original
        assert b"26000002" in original


def test_updates_hold_both_pools(station: Station) -> None:
    station.change_campaign(on_duplicate="update")
    first = station.deliver(FOR_ALL)
    second = station.deliver(FOR_ALL.replace(b"Anna", b"Anne"), name="second.csv")
    assert second.counts.updated == 1
    assert conflict(station, second) == ("pool_updated_leads", None)
    assert conflict(station, first) == ("pool_in_use", {"changed": 1})


def test_pools_of_no_file_or_that_are_not_there_are_not_undone(station: Station) -> None:
    by_hand = Leads(engine=station.engine).pool()
    for number, error in ((99, Missing), (by_hand, Conflict)):
        with writing(station.engine) as connection, pytest.raises(error, match=r"there is no pool|became of no file"):
            undoing.undo(connection, DEED, number, station.road.ledger, false())


def race(station: Station, delivery: Delivery) -> tuple[bool, int | None]:
    """An agent asks for a lead while the pool is undone: whether it was undone, and the lead."""
    mine = dialling.start(station.engine, AGENT, "DK-ENERGY", now())
    both = threading.Barrier(2)
    with ThreadPoolExecutor(1) as other:

        def dial() -> int | None:
            both.wait()
            lead, _ = dialling.next_lead(station.engine, mine, now())
            return lead.id if lead else None

        taken = other.submit(dial)
        both.wait()
        try:
            with writing(station.engine) as connection:
                deed = Deed(actor=COMMAND_LINE, at=now())
                undoing.undo(connection, deed, delivery.pool_id or 0, station.road.ledger, false())
        except Conflict:
            return False, taken.result()
        return True, taken.result()


def test_an_agent_who_is_given_a_lead_meanwhile_keeps_it_and_so_all_stay(station: Station) -> None:
    for turn in range(12):
        data = b"Phone,Owner code\r\n" + b"".join(b"26%02d%04d,DK\r\n" % (turn, row) for row in range(40))
        delivery = station.deliver(data, name=f"{turn}.csv")
        undone, taken = race(station, delivery)
        left = {lead["id"] for lead in station.leads(delivery)}
        assert len(left) == (0 if undone else 40)
        assert undone == (taken is None), "nobody holds a lead that is gone, and nothing stays for nothing"
        assert taken is None or taken in left
        with writing(station.engine) as connection:  # out of the way of the next round
            away = {"locked_by_id": None, "locked_until": None, "deactivated_at": now(), "dial_key": None}
            connection.execute(update(tables.leads).values(away))


def test_a_file_is_run_again_with_another_mapping(station: Station) -> None:
    data = b"Phone,Given,Owner code\r\n26000001,Anna,DK\r\n26000002,Bo,DK\r\n"
    first = station.deliver(data)
    assert [lead["first_name"] for lead in station.leads()] == [None, None]
    done = rerun(station, first, mapping={"Given": "first_name"})
    assert done.undone is not None
    assert (done.undone.deleted, station.leads()) == (2, [])
    station.road.travel(done.delivery_id)
    second = station.known(done.delivery_id)
    assert (second.state, second.rerun_of, second.previous_version) == (State.COMPLETED, first.id, first.id)
    assert [lead["first_name"] for lead in station.leads(second)] == ["Anna", "Bo"]
    assert len(station.leads()) == 2
    station.check_balance(second)
    assert station.download(second, "original") == station.download(station.known(first.id), "original") == data
    assert second.spool_key != first.spool_key
    with pytest.raises(Rejected, match=f"is delivery {second.id}; loading it twice"):
        rerun(station, station.known(first.id))


@pytest.mark.parametrize("save", [False, True])
def test_a_column_that_the_file_does_not_have_is_not_mapped(station: Station, save: bool) -> None:
    """It would be found out after the leads were taken back, or never."""
    delivery = station.deliver(FOR_ALL)
    files = len(list((station.home / "spool").rglob("*")))
    with pytest.raises(Invalid, match="the file has no column 'Sted', 'Ort'; its columns are: Phone, "):
        rerun(station, delivery, mapping={"Sted": "city", "PHONE ": "phone", "Ort": ""}, save=save)
    assert len(station.leads()) == 2
    assert len(list((station.home / "spool").rglob("*"))) == files


def test_a_file_that_loaded_nothing_is_run_again_and_its_mapping_saved(station: Station) -> None:
    refused = station.deliver(b"Fon,Given\r\n26000001,Anna\r\n")
    assert (refused.state, refused.reason_code) == (State.REFUSED, "required_column_missing")
    done = rerun(station, refused, mapping={"Fon": "phone"}, save=True)
    assert done.undone is None
    station.road.travel(done.delivery_id)
    assert station.known(done.delivery_id).counts.inserted == 1
    assert (station.known(done.delivery_id).mapping, station.known(done.delivery_id).mapping_version) == (None, 2)
    later = station.deliver(b"Fon\r\n26000002\r\n", name="later.csv")
    assert later.state is State.COMPLETED


def test_a_run_that_cannot_be_undone_is_not_repeated(station: Station) -> None:
    delivery = station.deliver(FOR_ALL)
    Leads(engine=station.engine).change(station.leads()[0]["id"], "success", call=True)
    files = len(list((station.home / "spool").rglob("*")))
    with pytest.raises(Conflict, match="1 were called"):
        rerun(station, delivery)
    assert station.count("deliveries") == 1
    assert len(list((station.home / "spool").rglob("*"))) == files
    waiting = station.known(station.land(FOR_ALL + b"26000003,C,DK\r\n", name="b.csv"))
    with pytest.raises(Conflict, match="is queued"):
        rerun(station, waiting)
    again = station.known(station.land(FOR_ALL))
    with pytest.raises(Rejected, match="its file was not kept"):
        rerun(station, again)


class TestConfirmation:
    """A source that asks before columns are ignored."""

    DATA = b"Phone,Shoe size,Given\r\n26000001,45,Anna\r\n"

    def held(self, station: Station) -> Delivery:
        station.change_source(on_unmapped="ask")
        return station.deliver(self.DATA)

    def confirm(self, station: Station, delivery: Delivery, **wish: Any) -> None:
        reruns.confirm(places(station), DEED, delivery.id, Wish(**wish))

    def test_a_file_with_strange_columns_waits_and_others_do_not(self, station: Station) -> None:
        delivery = self.held(station)
        assert (delivery.state, delivery.reason_code) == (State.AWAITING_CONFIRMATION, "columns_unmapped")
        assert "Shoe size, Given" in delivery.reason
        assert pool(station, delivery)["state"] == PoolState.AWAITING_CONFIRMATION
        assert station.summary(delivery)["unmatched_columns"] == ["Shoe size", "Given"]
        station.check_balance(delivery)
        other = station.deliver(FOR_ALL, name="plain.csv")
        assert other.state is State.COMPLETED
        assert station.known(station.land(self.DATA)).state is State.DUPLICATE

    @pytest.mark.parametrize("mapping", [None, {"Given": "first_name"}, {"Given": "first_name", "Shoe size": ""}])
    def test_it_goes_on_when_it_is_confirmed(self, station: Station, mapping: dict[str, str] | None) -> None:
        delivery = self.held(station)
        station.publisher.sweep()
        self.confirm(station, delivery, mapping=mapping)
        station.road.travel(delivery.id)
        done = station.known(delivery.id)
        assert (done.state, done.pool_id, done.reason_code) == (State.COMPLETED, delivery.pool_id, "")
        assert pool(station, done)["state"] == PoolState.ACTIVE
        assert [lead["first_name"] for lead in station.leads()] == ["Anna" if mapping else None]
        station.check_balance(done)
        assert done.published_at is None
        with pytest.raises(Conflict, match="does not wait for a confirmation"):
            self.confirm(station, done)

    def test_a_column_that_the_file_does_not_have_does_not_let_it_go_on(self, station: Station) -> None:
        delivery = self.held(station)
        with pytest.raises(Invalid, match="the file has no column 'Sted'"):
            self.confirm(station, delivery, mapping={"Sted": "city"})
        assert station.known(delivery.id).state is State.AWAITING_CONFIRMATION

    def test_a_saved_mapping_answers_for_later_files(self, station: Station) -> None:
        delivery = self.held(station)
        self.confirm(station, delivery, mapping={"Given": "first_name", "Shoe size": ""}, save=True)
        station.road.travel(delivery.id)
        later = station.deliver(self.DATA.replace(b"1,", b"2,"), name="later.csv")
        assert later.state is State.COMPLETED

    def test_it_can_be_cancelled_or_run_again_instead(self, station: Station) -> None:
        delivery = self.held(station)
        done = rerun(station, delivery, mapping={"Given": "first_name"})
        station.road.travel(done.delivery_id)
        assert station.known(done.delivery_id).state is State.COMPLETED
        assert (station.known(delivery.id).state, station.known(delivery.id).reason_code) == (
            State.CANCELLED, "run_again",
        )  # fmt: skip
        other = station.deliver(self.DATA.replace(b"1,", b"2,"), name="other.csv")
        station.road.ledger.cancel(other.id)
        assert station.known(other.id).state is State.CANCELLED
        assert pool(station, station.known(other.id))["state"] == PoolState.UPLOAD_FAILED

    def test_a_missing_phone_is_asked_about_as_well(self, station: Station) -> None:
        station.change_source(on_unmapped="ask")
        delivery = station.deliver(b"Fon\r\n26000001\r\n")
        assert delivery.state is State.AWAITING_CONFIRMATION
        self.confirm(station, delivery, mapping={"Fon": "phone"})
        station.road.travel(delivery.id)
        assert station.known(delivery.id).counts.inserted == 1
