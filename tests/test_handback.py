"""Handing back: receipt, log and rejected records where the partner finds them, whatever happened before."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from ingestd import handback
from ingestd.errors import Unavailable
from ingestd.handback import Publisher
from ingestd.model import Delivery, State
from ingestd.node import Node
from ingestd.receive import results
from ingestd.receive.landing import Landing
from ingestd.store import tables
from ingestd.store.engine import reading, writing
from ingestd.store.nodes import Nodes, ResultsDue
from tests.ingest.conftest import Station

DATA = b"Phone,Name\r\n26000001,Anna\r\nx,Bo\r\n"


@pytest.fixture
def station(organised: Engine, tmp_path: Path) -> Station:
    """A station with the example organisation, on each database."""
    return Station.at(organised, tmp_path)


def folder(station: Station, source: str = "nordlead") -> Path:
    return station.home / "homes" / source / "results"


def shown(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if not path.name.startswith(".")) if place.is_dir() else []


def receipt(station: Station, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder(station) / f"{name}.receipt.json").read_bytes())
    return told


def published(station: Station, delivery: Delivery) -> Delivery:
    station.publisher.publish(delivery)
    return station.known(delivery.id)


def test_receipt_log_and_rejected_records_are_handed_back(station: Station) -> None:
    delivery = published(station, station.deliver(DATA))
    assert shown(folder(station)) == ["leads.csv.log.csv", "leads.csv.receipt.json", "leads.csv.rejected.csv"]
    assert (folder(station) / "leads.csv.log.csv").read_bytes() == station.download(delivery, "full")
    assert (folder(station) / "leads.csv.rejected.csv").read_bytes() == b"Phone,Name\r\nx,Bo\r\n"
    told = receipt(station, "leads.csv")
    assert (
        told.items()
        >= {
            "delivery": delivery.id,
            "file": "leads.csv",
            "bytes": len(DATA),
            "sha256": delivery.sha256,
            "state": "completed_with_rejects",
            "completeness": "proven",
            "lead_pool": delivery.pool_id,
        }.items()
    )
    assert told["counts"] == dataclasses.asdict(delivery.counts)
    assert "reason" not in told
    assert delivery.published_at is not None


def test_without_rejects_there_is_no_file_of_them(station: Station) -> None:
    published(station, station.deliver(DATA.replace(b"x,Bo\r\n", b"")))
    assert shown(folder(station)) == ["leads.csv.log.csv", "leads.csv.receipt.json"]


@pytest.fixture
def drop(station: Station) -> Path:
    """The drop folder of a source."""
    place = station.home / "drop" / "nordlead"
    place.mkdir(parents=True)
    return place


BAD = b"Name,City\r\nAnna,Odense\r\n"


def test_a_file_of_the_drop_folder_comes_back_with_its_results(station: Station, drop: Path) -> None:
    published(station, station.deliver(DATA, protocol="folder", folder="DK-ENERGY"))
    assert shown(drop / "done") == ["leads.csv", *shown(folder(station))]
    assert (drop / "done/leads.csv").read_bytes() == DATA
    assert shown(drop) == ["done"]
    published(station, station.deliver(DATA, name="by-ftp.csv"))
    assert not any(name.startswith("by-ftp") for name in shown(drop / "done"))


def test_a_duplicate_comes_back_with_the_bytes_of_the_first(station: Station, drop: Path) -> None:
    published(station, station.deliver(DATA, protocol="folder"))
    again = published(station, station.deliver(DATA, protocol="folder"))
    assert again.spool_key == ""
    assert (drop / f"done/leads.csv.{again.id}").read_bytes() == DATA
    assert json.loads((drop / f"done/leads.csv.{again.id}.receipt.json").read_bytes())["state"] == "duplicate"


@pytest.mark.parametrize("kept", [True, False])
def test_a_refused_file_comes_back_in_rejected(station: Station, drop: Path, kept: bool) -> None:
    """Without the file when an operator has removed it from the spool: the receipt says why all the same."""
    delivery = station.deliver(BAD, protocol="folder")
    if not kept:
        station.publisher.spool.discard(delivery.spool_key)
    published(station, delivery)
    beside = ["leads.csv.log.csv", "leads.csv.receipt.json"]
    assert shown(drop / "rejected") == (["leads.csv", *beside] if kept else beside)
    assert not (drop / "done").exists()


def test_a_retried_file_moves_from_rejected_to_done(station: Station, drop: Path) -> None:
    station.change_source(limits={"max_rejected_rows": 0})
    refused = published(station, station.deliver(DATA, protocol="folder"))
    assert "leads.csv" in shown(drop / "rejected")
    (drop / "rejected/other.csv").write_bytes(b"the partner's own")
    station.change_source(limits={})
    station.road.ledger.retry(refused.id)
    station.road.travel(refused.id)
    published(station, station.known(refused.id))
    assert shown(drop / "rejected") == ["other.csv"]
    assert "leads.csv" in shown(drop / "done")


def test_what_was_refused_at_the_door_is_not_replaced(station: Station, drop: Path) -> None:
    """Nor is a part of another delivery by a file that has its name."""
    (drop / "rejected").mkdir()
    (drop / "rejected/leads.csv").write_bytes(b"too large")
    (drop / "rejected/leads.csv.reason.txt").write_bytes(b"reason")
    refused = published(station, station.deliver(BAD, protocol="folder"))
    odd = published(station, station.deliver(BAD, protocol="folder", name=f"leads.csv.{refused.id}.receipt.json"))
    assert (drop / "rejected/leads.csv").read_bytes() == b"too large"
    assert (drop / f"rejected/leads.csv.{refused.id}").read_bytes() == BAD
    assert json.loads((drop / f"rejected/leads.csv.{refused.id}.receipt.json").read_bytes())["delivery"] == refused.id
    assert (drop / f"rejected/leads.csv.{refused.id}.receipt.json.{odd.id}").read_bytes() == BAD


def test_results_alone_come_back_when_that_is_wanted(station: Station, drop: Path) -> None:
    publisher = dataclasses.replace(station.publisher, after="results")
    publisher.publish(station.deliver(DATA, protocol="folder"))
    assert shown(drop) == ["results"]
    assert shown(drop / "results") == shown(folder(station)) != []


def test_nothing_is_written_beside_files_that_are_left(station: Station, drop: Path) -> None:
    publisher = dataclasses.replace(station.publisher, after="leave")
    publisher.publish(station.deliver(DATA, protocol="folder"))
    publisher.sweep()
    assert shown(drop) == []
    assert "leads.csv.receipt.json" in shown(folder(station))


def test_a_share_that_is_away_is_waited_for(station: Station, drop: Path) -> None:
    """What was written below its mount point would be hidden when it is back."""
    drop.rename(station.home / "away")
    moment = [0.0]
    publisher = dataclasses.replace(station.publisher, clock=lambda: moment[0])
    delivery = station.deliver(DATA, protocol="folder")
    publisher.sweep()
    assert station.known(delivery.id).published_at is None
    assert not drop.exists()
    (station.home / "away").rename(drop)
    moment[0] = handback.AGAIN_SECONDS
    publisher.sweep()
    assert "leads.csv" in shown(drop / "done")


def test_a_delivery_is_handed_back_once(station: Station) -> None:
    delivery = published(station, station.deliver(DATA))
    for path in folder(station).iterdir():
        path.unlink()
    published(station, delivery)
    station.publisher.sweep()
    assert shown(folder(station)) == []
    assert station.known(delivery.id) == delivery


def test_an_onlooker_hears_of_each_delivery_once_also_of_a_duplicate(station: Station) -> None:
    heard: list[State] = []
    station.publisher.onlooker = lambda delivery: heard.append(delivery.state)
    published(station, station.deliver(DATA))
    station.deliver(DATA)
    station.publisher.sweep()
    station.publisher.sweep()
    assert heard == [State.COMPLETED_WITH_REJECTS, State.DUPLICATE]


def test_a_delivery_that_has_not_ended_is_not_handed_back(station: Station) -> None:
    waiting = published(station, station.known(station.land(DATA)))
    assert waiting.published_at is None
    assert shown(folder(station)) == []


def test_what_a_crash_left_undone_is_done_by_the_sweep(station: Station) -> None:
    """Between the end of a delivery and its results, or between the results and the note of them."""
    first, second = station.deliver(DATA), station.deliver(DATA, name="second.csv")
    parts = {"receipt.json": b"half"}
    results.publish(folder(station), second.name, second.id, parts)
    station.publisher.sweep()
    assert receipt(station, "leads.csv")["delivery"] == first.id
    assert receipt(station, "second.csv")["delivery"] == second.id
    assert station.road.ledger.unpublished() == []


def test_a_refused_file_is_told_why(station: Station) -> None:
    delivery = published(station, station.deliver(b"Name,City\r\nAnna,Odense\r\n"))
    told = receipt(station, "leads.csv")
    assert told["state"] == "refused"
    assert told["reason"] == {
        "code": "required_column_missing",
        "message": delivery.reason,
        "suggestion": delivery.suggestion,
    }
    assert (folder(station) / "leads.csv.log.csv").read_bytes().startswith(b"row,line_start,")


def test_a_duplicate_gets_a_receipt_that_names_the_first_delivery(station: Station) -> None:
    first = published(station, station.deliver(DATA))
    again = published(station, station.deliver(DATA))
    told = receipt(station, f"leads.csv.{again.id}")
    assert (told["state"], told["duplicate_of"], told["lead_pool"]) == ("duplicate", first.id, None)
    assert receipt(station, "leads.csv")["delivery"] == first.id


def test_a_dead_letter_is_told_without_a_log(station: Station) -> None:
    number = station.land(DATA)
    with writing(station.engine) as connection:
        connection.execute(update(tables.deliveries).values(attempts=station.road.max_attempts))
    station.road.travel(number)
    station.publisher.sweep()
    assert shown(folder(station)) == ["leads.csv.receipt.json"]
    assert receipt(station, "leads.csv")["reason"]["code"] == "gave_up"


def test_a_retried_delivery_is_handed_back_again(station: Station) -> None:
    station.change_source(limits={"max_rejected_rows": 0})
    refused = published(station, station.deliver(DATA))
    assert receipt(station, "leads.csv")["state"] == "refused"
    station.change_source(limits={})
    station.road.ledger.retry(refused.id)
    station.road.travel(refused.id)
    published(station, station.known(refused.id))
    assert receipt(station, "leads.csv")["state"] == "completed_with_rejects"
    assert "leads.csv.rejected.csv" in shown(folder(station))


def test_one_that_cannot_be_handed_back_does_not_hold_up_the_others(station: Station) -> None:
    blocked, fine = station.deliver(DATA), station.deliver(DATA, source="fibreweb")
    moment = [0.0]
    publisher = dataclasses.replace(station.publisher, clock=lambda: moment[0])
    folder(station).parent.parent.mkdir()
    folder(station).parent.write_text("a file where the folder should be")
    with pytest.raises(Unavailable):
        publisher.publish(blocked)
    publisher.sweep()
    assert station.known(blocked.id).published_at is None
    assert station.known(fine.id).published_at is not None
    assert "leads.csv.receipt.json" in shown(folder(station, "fibreweb"))
    folder(station).parent.unlink()
    publisher.sweep()
    assert station.known(blocked.id).published_at is None  # it lets the others go first for a while
    moment[0] = handback.AGAIN_SECONDS
    publisher.sweep()
    assert receipt(station, "leads.csv")["delivery"] == blocked.id


def test_old_results_are_pruned_now_and_then(station: Station, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    publisher = dataclasses.replace(station.publisher, clock=lambda: moment[0])
    station.deliver(DATA, protocol="folder")
    station.deliver(BAD, protocol="folder")
    publisher.sweep()
    places = [folder(station), drop / "done", drop / "rejected"]
    monkeypatch.setattr(handback, "now", lambda: datetime.now(UTC) + publisher.keep + timedelta(days=1))
    publisher.sweep()
    assert all(shown(place) for place in places)  # looked a moment ago
    moment[0] = handback.PRUNE_SECONDS
    publisher.sweep()
    assert [shown(place) for place in places] == [[], [], []]


def test_what_was_handed_back_is_noted_in_the_ledger(station: Station) -> None:
    published(station, station.deliver(DATA))
    with reading(station.engine) as connection:
        rows = connection.execute(select(tables.deliveries.c.state, tables.deliveries.c.published_at)).all()
    assert [(state, moment is not None) for state, moment in rows] == [(State.COMPLETED_WITH_REJECTS, True)]


# --- several homes on one store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crew:
    """Nodes with homes of their own, on one store with one spool and one place for logs."""

    station: Station
    lists: ResultsDue

    def node(self, name: str, roles: str = "ftp") -> Publisher:
        """The publisher of a node that starts."""
        known = Node(name=name, home=name, place=name, version="1", roles=tuple(roles.split(",")))
        number = Nodes(engine=self.station.engine).register(known, catch_up=timedelta(days=30))
        home = self.station.home / name
        (home / "drop" / "nordlead").mkdir(parents=True, exist_ok=True)
        return dataclasses.replace(
            self.station.publisher, due=self.lists, node=number, homes=home / "homes", drop=home / "drop", later={}
        )

    def received(self, node: Publisher, data: bytes, **arrival: str) -> Delivery:
        """A delivery that a node received, loaded by whichever."""
        ledger = dataclasses.replace(self.station.road.ledger, node=node.node)
        landing = Landing(self.station.road.spool, ledger, ring=lambda: None)
        return dataclasses.replace(self.station, landing=landing).deliver(data, **arrival)


@pytest.fixture
def crew(station: Station) -> Crew:
    return Crew(station=station, lists=ResultsDue(engine=station.engine))


def results_of(node: Publisher) -> list[str]:
    return shown(node.homes / "nordlead" / "results")


RESULTS = ["leads.csv.log.csv", "leads.csv.receipt.json", "leads.csv.rejected.csv"]


def test_results_come_back_at_every_node_where_partners_fetch_whoever_loaded(crew: Crew) -> None:
    alpha, beta, worker = crew.node("alpha"), crew.node("beta", "sftp"), crew.node("gamma", "worker")
    heard: list[int] = []
    worker.onlooker = lambda delivery: heard.append(delivery.id)
    delivery = crew.received(alpha, DATA)
    worker.publish(delivery)
    worker.publish(delivery)  # a second one has looked at the same time
    worker.publish(crew.station.known(delivery.id))
    assert heard == [delivery.id]
    assert results_of(alpha) == results_of(beta) == []
    for node in (alpha, beta, worker):
        node.work_off()
    assert results_of(alpha) == results_of(beta) == RESULTS
    assert not worker.homes.exists()
    assert crew.lists.of(alpha.node or 0) == {}


def test_a_file_of_a_drop_folder_goes_back_where_it_was_taken(crew: Crew) -> None:
    alpha, beta = crew.node("alpha", "folder"), crew.node("beta", "ftp,folder")
    beta.publish(crew.received(alpha, DATA, protocol="folder"))
    for node in (alpha, beta):
        node.work_off()
    assert shown(alpha.drop / "nordlead" / "done") == ["leads.csv", *RESULTS]
    assert shown(beta.drop / "nordlead") == []
    assert results_of(beta) == RESULTS


def test_a_duplicate_is_found_by_any_node(crew: Crew) -> None:
    alpha, beta = crew.node("alpha"), crew.node("beta")
    crew.received(alpha, DATA)
    again = crew.received(alpha, DATA)
    beta.sweep()
    alpha.work_off()
    assert f"leads.csv.{again.id}.receipt.json" in results_of(alpha)


def test_a_node_that_was_down_catches_up_and_a_new_one_has_everything(crew: Crew) -> None:
    alpha, beta = crew.node("alpha"), crew.node("beta")
    for number in range(5):
        alpha.publish(crew.received(alpha, DATA + b"2600001%d,Cy\r\n" % number, name=f"{number}.csv"))
    alpha.work_off()
    assert results_of(beta) == []
    Nodes(engine=crew.station.engine).leave(beta.node or 0, "beta")
    beta = crew.node("beta")
    new = crew.node("new")
    for node in (beta, new):
        node.work_off()
    assert results_of(alpha) == results_of(beta) == results_of(new) != []


def test_a_delivery_that_is_retried_replaces_its_results_everywhere(crew: Crew) -> None:
    alpha, beta = crew.node("alpha"), crew.node("beta")
    crew.station.change_source(limits={"max_rejected_rows": 0})
    refused = crew.received(alpha, DATA, protocol="folder")
    alpha.publish(refused)
    alpha.work_off()  # the other one is slow, and meets the retried delivery
    assert "leads.csv" in shown(alpha.drop / "nordlead" / "rejected")
    crew.station.change_source(limits={})
    crew.station.road.ledger.retry(refused.id)
    beta.work_off()
    assert results_of(beta) == [], "it has not ended, and will be listed again"
    crew.station.road.travel(refused.id)
    beta.publish(crew.station.known(refused.id))
    for node in (alpha, beta):
        node.work_off()
        told = json.loads((node.homes / "nordlead/results/leads.csv.receipt.json").read_bytes())
        assert told["state"] == "completed_with_rejects"
    assert shown(alpha.drop / "nordlead" / "rejected") == []
    assert "leads.csv" in shown(alpha.drop / "nordlead" / "done")


def test_one_that_a_node_cannot_hand_back_stays_on_its_list_and_holds_up_no_other(crew: Crew) -> None:
    moment = [0.0]
    alpha = dataclasses.replace(crew.node("alpha"), clock=lambda: moment[0])
    blocked, fine = crew.received(alpha, DATA), crew.received(alpha, DATA, source="fibreweb")
    alpha.homes.mkdir()
    (alpha.homes / "nordlead").write_text("a file where the folder should be")
    for delivery in (blocked, fine):
        alpha.publish(delivery)
    alpha.work_off()
    assert "leads.csv.receipt.json" in shown(alpha.homes / "fibreweb" / "results")
    (alpha.homes / "nordlead").unlink()
    alpha.work_off()
    assert results_of(alpha) == [], "others go first for a while"
    moment[0] = handback.AGAIN_SECONDS
    alpha.work_off()
    assert results_of(alpha) == RESULTS


def test_a_stop_is_heard_in_a_long_list(crew: Crew) -> None:
    alpha = crew.node("alpha")
    alpha.publish(crew.received(alpha, DATA))
    alpha.work_off(until=lambda: True)
    assert results_of(alpha) == []


def test_results_that_changed_come_back_at_every_node_anew(crew: Crew) -> None:
    alpha, beta, worker = crew.node("alpha"), crew.node("beta", "sftp"), crew.node("gamma", "worker")
    delivery = crew.received(alpha, DATA)
    worker.publish(delivery)
    for again in (lambda: None, lambda: worker.publish_again(crew.station.known(delivery.id))):
        again()
        for node in (alpha, beta):
            node.work_off()
            assert results_of(node) == RESULTS
            for path in (node.homes / "nordlead" / "results").iterdir():
                path.unlink()


def test_results_that_changed_come_back_in_the_one_home(station: Station) -> None:
    delivery = published(station, station.deliver(DATA))
    (folder(station) / "leads.csv.log.csv").write_bytes(b"with a person")
    station.publisher.publish_again(delivery)
    assert (folder(station) / "leads.csv.log.csv").read_bytes() == station.download(delivery, "full")
