"""The soak's reconciliation must be able to fail: each kind of loss and doubling is told."""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from bench.partners import SOURCE, Door, Kind, Partner, Sent
from bench.reconciliation import mismatches
from bench.watching import Look, trend
from ingestd.errors import Rejected
from ingestd.house import House, open_house
from ingestd.model import Arrival
from ingestd.preparing import prepare_store
from ingestd.receive.landing import Landing
from ingestd.receive.prover import ProofRules, Prover
from ingestd.spool import place
from ingestd.store import tables
from ingestd.store.engine import writing
from ingestd.store.proofs import Proofs
from ingestd.worker import publisher_of, road_of
from tests.running import UntilDone, example_config


class Here:
    """A door without a network: lands files in a house of this process."""

    name = "here"

    def __init__(self, house: House) -> None:
        proofs = Proofs(engine=house.engine, submit=house.dispatcher.submit)
        prover = Prover(house.spool, proofs, lambda _: ProofRules(), lambda: None)
        self.landing = Landing(house.spool, house.ledger, ring=lambda: None, prover=prover)

    def send(self, name: str, data: bytes) -> bool:
        with closing(self.landing.open(len(data))) as incoming:
            incoming.write(data)
            arrival = Arrival(source=SOURCE, login=SOURCE, peer="here", protocol="ftp", name=name)
            try:
                self.landing.accept(incoming, arrival)
            except Rejected:
                return False
        return True

    def cut(self, name: str, data: bytes) -> None:  # noqa: ARG002 - it never comes to the name
        with closing(self.landing.open(len(data))) as incoming:
            incoming.write(data)

    def leave(self) -> None:
        """There is no session."""


class Site:
    """A house, and what its partner has sent."""

    def __init__(self, config: Path, home: Path, sent: Sequence[Sent] = ()) -> None:
        self.house = open_house(config, home)
        prepare_store(self.house)
        door: Door = Here(self.house)
        self.partner = Partner(door, 1, itertools.count(1), lambda: 0)
        self.partner.sent = list(sent)

    def fill(self) -> None:
        """One file of each kind is sent and brought to its end, and the first comes twice."""
        for number, kind in enumerate(kind for kind in Kind if kind is not Kind.AGAIN):
            self.partner._new(number + 1, kind)
        self.partner._again(0)
        road = road_of(self.house)
        self.house.dispatcher.run(road.travel, UntilDone(dispatcher=self.house.dispatcher))
        publisher_of(self.house).sweep()

    @property
    def sent(self) -> list[Sent]:
        return self.partner.sent

    def found(self) -> str:
        return "\n".join(mismatches(self.house, self.sent))

    def change(self, *statements: object) -> None:
        with writing(self.house.engine) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def raw(self, name: str) -> Path:
        (delivery,) = (each for each in self.house.ledger.latest(limit=99) if each.name == name and each.spool_key)
        return self.house.places.home / "spool" / place(delivery.spool_key)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sent]]:
    """The folder of a house in which everything is as it must be, and what was sent to it."""
    folder = tmp_path_factory.mktemp("filled")
    site = Site(example_config(folder), folder / "home")
    site.fill()
    site.house.engine.dispose()
    return folder, site.sent


@pytest.fixture
def site(filled: tuple[Path, list[Sent]], tmp_path: Path) -> Iterator[Site]:
    """A copy of it."""
    folder, sent = filled
    shutil.copytree(folder / "home", tmp_path / "home")
    site = Site(folder / "config", tmp_path / "home", sent)
    yield site
    site.house.engine.dispose()


def test_nothing_is_told_when_everything_is_as_it_must_be(site: Site) -> None:
    assert site.found() == ""
    assert {file.kind for file in site.sent} == set(Kind) - {Kind.AGAIN}


LEADS, DELIVERIES = tables.leads, tables.deliveries
FIRST_LEAD = LEADS.c.external_id == "1-0"
FIRST = DELIVERIES.c.name == "soak-1.csv"


def lose_a_lead(site: Site) -> None:
    site.change(delete(LEADS).where(FIRST_LEAD))


def double_a_lead(site: Site) -> None:
    columns = {name: column for name, column in LEADS.c.items() if name != "id"}
    again = select((LEADS.c.id + 1_000_000).label("id"), *columns.values()).where(FIRST_LEAD)
    site.change(insert(LEADS).from_select(["id", *columns], again))


def lose_a_delivery(site: Site) -> None:
    site.change(update(DELIVERIES).where(FIRST).values(name="other.csv"))


def lose_a_receipt(site: Site) -> None:
    site.change(delete(tables.receipts).where(tables.receipts.c.delivery_id == 1))


def leave_a_job(site: Site) -> None:
    site.change(update(DELIVERIES).where(FIRST).values(state="queued", published_at=None))


def fail_a_delivery(site: Site) -> None:
    site.change(update(DELIVERIES).where(FIRST).values(state="failed"))


def change_the_bytes(site: Site) -> None:
    site.raw("soak-1.csv").write_bytes(b"x")


def lose_the_bytes(site: Site) -> None:
    site.raw("soak-1.csv").unlink()


def have_more_bytes(site: Site) -> None:
    path = site.raw("soak-1.csv")
    path.with_name(hashlib.md5(b"x", usedforsecurity=False).hexdigest()).write_bytes(b"x")


def put_unknown_bytes_aside(site: Site) -> None:
    folder = site.house.places.home / "spool" / "orphans"
    folder.mkdir()
    (folder / "x").write_bytes(b"x")


def lose_a_log(site: Site) -> None:
    (site.house.places.home / "logs" / "1" / "1" / "header.json").unlink()


def count_otherwise(site: Site) -> None:
    counts = {"inserted": DELIVERIES.c.inserted - 1, "unchanged": DELIVERIES.c.unchanged + 1}
    site.change(update(DELIVERIES).where(FIRST, DELIVERIES.c.state == "completed").values(counts))


def lose_results(site: Site) -> None:
    (site.house.places.homes / SOURCE / "results" / "soak-1.csv.receipt.json").unlink()


def load_a_cut_file(site: Site) -> None:
    cut = next(file for file in site.sent if file.kind is Kind.CUT)
    site.partner.door.send(cut.name, b"Name,Phone\n")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lose_a_lead, "1 leads missing: 1-0 of delivery 1"),
        (double_a_lead, "1 leads too many: 1-0 of delivery 1"),
        (lose_a_delivery, "soak-1.csv: acknowledged, but there is no delivery"),
        (lose_a_delivery, "other.csv: nobody sent it"),
        (lose_a_receipt, "of [1] missing"),
        (leave_a_job, "2 jobs are left"),
        (fail_a_delivery, "delivery 1 is failed"),
        (change_the_bytes, "its file in the spool has other bytes"),
        (lose_the_bytes, "its file is not in the spool"),
        (have_more_bytes, "which no delivery names"),
        (put_unknown_bytes_aside, "nobody has sent such bytes"),
        (lose_a_log, "its log is not there"),
        (count_otherwise, "the log has"),
        (lose_results, "has no receipt in results/"),
        (load_a_cut_file, "cut off, but delivery"),
    ],
)
def test_each_harm_is_told(site: Site, harm: Callable[[Site], None], told: str) -> None:
    harm(site)
    assert told in site.found()


def test_a_duplicate_that_is_missing_is_told(site: Site) -> None:
    site.change(delete(DELIVERIES).where(DELIVERIES.c.state == "duplicate"))
    assert "1 deliveries of 2 acknowledged" in site.found()


# --- growth


def looks(memory: Callable[[int], float], descriptors: Callable[[int], int]) -> list[Look]:
    return [Look(at=float(at), memory=memory(at), descriptors=descriptors(at)) for at in range(90)]


def test_a_role_that_is_flat_does_not_grow() -> None:
    dice = random.Random(1)
    found = trend("worker", looks(lambda at: min(at * 10, 200) + dice.uniform(0, 10), lambda _: 20))
    assert not found.grows
    assert abs(found.slope) < 500


def test_a_role_that_leaks_memory_grows() -> None:
    found = trend("worker", looks(lambda at: 100 + at * 2, lambda _: 20))
    assert found.grows
    assert found.slope == pytest.approx(7200)


def test_a_role_that_leaks_descriptors_grows() -> None:
    assert trend("receiver", looks(lambda _: 100, lambda at: 20 + at)).grows
