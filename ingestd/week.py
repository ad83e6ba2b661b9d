"""A week that lies behind: deliveries of seven days and the calls of agents, so that a new home has something to show.

Everything goes the ways of real files and real calls; only the clock is set back. The same end gives the same week.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingestd import samples
from ingestd.errors import Rejected
from ingestd.house import House
from ingestd.leads import dialling
from ingestd.leads.statuses import Change
from ingestd.model import Arrival, Completeness
from ingestd.receive.landing import Landing
from ingestd.samples import Sample
from ingestd.worker import publisher_of, road_of

DAYS = 7
CALLS_A_DAY = 8
"""of each agent"""
_FIRST_NUMBER = 2_300_000
"""from where the week's leads have their phones; the other samples have theirs elsewhere"""
_AGENTS = {
    "DK-ENERGY": ("copenhagen-1", "copenhagen-2", "aarhus-1"),
    "DE-ENERGY": ("berlin-1", "hamburg-1"),
    "DK-FIBRE": ("aarhus-2",),
}
_ENDS = {
    "success": 14, "not_interested": 22, "no_answer": 26, "busy": 8, "answering_machine": 10, "unqualified": 5,
    "automatic_redial": 6, "manual_redial_common": 4, "manual_redial_vip": 2, "follow_up_redial": 3,
}  # fmt: skip
"""How calls end, and how often of a hundred."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A file, and when it came."""

    at: datetime
    sample: Sample


def live(house: House, until: datetime) -> None:
    """Brings the week before a moment about; nothing else works on the home meanwhile."""
    midnight = until.replace(hour=0, minute=0, second=0, microsecond=0)
    for before in range(DAYS, 0, -1):
        day = midnight - timedelta(days=before)
        for each in _files(day, DAYS - before):
            _deliver(house, each)
        for campaign, logins in _AGENTS.items():
            for login in logins:
                _call(house, login, campaign, day + timedelta(hours=9))
    publisher_of(house).sweep()


def _files(day: datetime, number: int) -> Iterator[Sent]:
    """What partners send on a day: a clean list, one with mistakes, now and then a workbook or something useless."""
    first = _FIRST_NUMBER + number * 2_000
    date = f"{day:%Y-%m-%d}"
    clean = samples.clean(180 + 40 * (number % 3), start=first, seed=first)
    mixed = samples.mixed(90, start=first + 1_000, seed=first)
    yield _sent(day, 5, f"nordlead-{date}.csv", "nordlead", "ftps", clean)
    yield _sent(day, 6, f"nordlead-{date}-web.csv", "nordlead", "ftp", mixed)
    if number % 2 == 0:
        yield _sent(day, 7, f"Kunden_{date}.csv", "stadtwerk", "sftp", samples.german(120, start=50_000 + number * 500))
    if number % 3 == 1:
        book = samples.workbook(60, start=first + 1_500, seed=first)
        yield _sent(day, 8, f"fibre_DK-AAR_{date}.xlsx", "fibreweb", "sftp", book)
    if number == 4:
        yield _sent(day, 8, "summary.csv", "stadtwerk", "sftp", b"Zeitraum;Summe\r\nWoche;420\r\n")


def _sent(day: datetime, hour: int, name: str, source: str, door: str, data: bytes) -> Sent:
    return Sent(at=day + timedelta(hours=hour), sample=Sample(name=name, source=source, door=door, data=data))


def _deliver(house: House, sent: Sent) -> None:
    """Lands a file and loads it, as of its moment."""
    ledger = dataclasses.replace(house.ledger, clock=lambda: sent.at)
    then = dataclasses.replace(house, ledger=ledger)
    sample, sealed = sent.sample, sent.sample.door in ("ftps", "sftp")
    arrival = Arrival(
        source=sample.source,
        login=sample.source,
        peer="192.0.2.10",
        protocol=sample.door,
        name=sample.name,
        completeness=Completeness.PROVEN if sealed else Completeness.ASSUMED,
        evidence="the sender closed it" if sealed else "nothing more came",
    )
    landing = Landing(house.spool, ledger, ring=lambda: None)
    with closing(landing.open(len(sample.data))) as incoming:
        incoming.write(sample.data)
        delivery_id = landing.accept(incoming, arrival).delivery_id
    assert delivery_id is not None, "without a prover every file is a delivery"
    road_of(then).travel(delivery_id)
    house.dispatcher.done(delivery_id)


def _call(house: House, login: str, campaign: str, begin: datetime) -> None:
    """What an agent gets done on a day; ends early when there is no lead left."""
    chance = random.Random(f"{login} {begin:%j}")  # noqa: S311 - a show, no secret
    at = begin + timedelta(minutes=chance.randrange(60))
    try:
        shift = dialling.start(house.engine, login, campaign, at)
    except Rejected:
        return  # the operator's own organisation has other agents or campaigns
    for _ in range(chance.randrange(CALLS_A_DAY // 2, CALLS_A_DAY + 1)):
        lead, shift = dialling.next_lead(house.engine, shift, at)
        if lead is None:
            return
        at += timedelta(minutes=chance.randrange(2, 20))
        _end(house, lead.id, shift, at, chance)


def _end(house: House, lead_id: int, shift: dialling.Shift, at: datetime, chance: random.Random) -> None:
    (to,) = chance.choices(list(_ENDS), weights=list(_ENDS.values()))
    again = at + timedelta(hours=chance.randrange(1, 40)) if shift.book.get(to).open else None
    dialling.result(house.engine, lead_id, Change(to=to, by=shift.agent.id, at=at, scheduled_at=again))
