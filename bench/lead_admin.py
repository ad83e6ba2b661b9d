"""Pages of Lead Admin over 10 million leads of several campaigns, on both databases: every kind of filter and sort.

A page is measured as the API makes it: names, filter, search, the cells of all columns that are shown; without HTTP.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from bench import machine
from bench.results import Result, show
from bench.road import postgres_server
from ingestd.leads import columns, filters, listing, ordering
from ingestd.leads.filter_fields import Field
from ingestd.leads.listing import Page, Wish
from ingestd.model import PoolState
from ingestd.settings import configuration
from ingestd.store import organisation, partitions
from ingestd.store.engine import open_engine, reading, sqlite_url, writing
from ingestd.store.ledger import now
from ingestd.store.migrations import upgrade
from ingestd.store.tables import campaigns, lead_numbers, pools

ROOT = Path(__file__).parents[1]
LEADS = 10_000_000
POOL = 250_000
GOAL_MS = 100.0
DEPTH = 6
"""pages that are gone on, of each filter and sort"""
NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)

_CITIES = (
    "Copenhagen",
    "Aarhus C",
    "Odense",
    "Aalborg",
    "Esbjerg",
    "Randers",
    "Kolding",
    "Horsens",
    "Vejle",
    "Roskilde",
)
_NAMES = ("Andersen", "Nielsen", "Hansen", "Pedersen", "Christensen", "Larsen", "Rasmussen", "Berg", "Holm", "Lund")


def _one_of(values: tuple[str, ...], number: str) -> str:
    cases = " ".join(f"WHEN {place} THEN '{value}'" for place, value in enumerate(values))
    return f"CASE {number} % {len(values)} {cases} END"


# Two leads of a hundred have been worked with. 7,368,787 is prime to any count below: an order that is none.
_FILL = f"""
INSERT INTO {{table}} (campaign_id, id, pool_id, row, owner_id, status_id, phone, first_name, last_name, email, address,
                       postcode, city, country, priority, extra, attempts, modified_at, called_at, status_at,
                       processed_by_id)
SELECT {{campaign}}, n, {{pool}}, (n * 7368787) % {POOL} + 1, {{owner}} + n % 4,
       CASE WHEN n % 50 = 0 THEN {{closed}} ELSE {{opened}} END, '+45' || CAST(20000000 + n AS TEXT), 'Anna',
       {_one_of(_NAMES, "(n / 7)")}, 'anna.' || CAST(n AS TEXT) || '@example.com',
       'Vestergade ' || CAST(n % 150 AS TEXT), CAST(1000 + (n * 7368787) % 9000 AS TEXT), {_one_of(_CITIES, "(n / 3)")},
       'DK', n % 100, CASE WHEN n % 3 = 0 THEN '{{{{"supplier": "Havvind", "consumption_kwh": 4200}}}}' END,
       CASE WHEN n % 50 = 0 THEN 1 + n % 3 ELSE 0 END, {{worked}}, {{worked}}, {{worked}},
       CASE WHEN n % 50 = 0 THEN {{caller}} END
FROM ({{numbers}}) AS counted ORDER BY n
"""
_NUMBERS = {
    "sqlite": "WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c",
    "postgresql": "SELECT n FROM generate_series(CAST({first} AS bigint), {last}) AS n",
}
_BEFORE = "((n * 31) % 2000000)"
_WORKED = {
    "sqlite": "CASE WHEN n % 50 = 0 THEN "
    f"strftime('%Y-%m-%d %H:%M:%S', '2026-06-15', '-' || {_BEFORE} || ' seconds') || '.000000' END",
    "postgresql": f"CASE WHEN n % 50 = 0 THEN timestamptz '2026-06-15 00:00+00' - {_BEFORE} * interval '1 second' END",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One list that somebody looks at."""

    kind: str
    tree: Any
    sort: str


def main(arguments: list[str]) -> list[Result]:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.lead_admin", description=__doc__)
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL; else on SQLite")
    parser.add_argument("--keep", type=Path, help="folder of an SQLite store that is kept, or is there already")
    options = parser.parse_args(arguments)
    print(f"\nLead Admin over {options.leads:,} leads; {machine.described()}")
    with tempfile.TemporaryDirectory(prefix="ingestd-lead-admin-") as made, _store(Path(made), options) as url:
        engine = open_engine(url)
        begun = time.perf_counter()
        if filled(engine, options.leads):
            print(f"  filled in {time.perf_counter() - begun:.0f} s", flush=True)
        result = _measured(engine)
        engine.dispose()
    return [result]


@contextmanager
def _store(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    if not options.postgres:
        yield sqlite_url(options.keep or folder)
        return
    folder.chmod(0o755)
    with postgres_server(folder) as server:
        yield server.new_database()


def filled(engine: Engine, count: int) -> bool:
    """Six of ten leads in the first campaign, the others in all others; False when there are some already."""
    upgrade(engine)
    with writing(engine) as connection:
        if connection.scalar(select(lead_numbers.c.next)):
            return False
        organisation.apply(connection, configuration.read(ROOT / "config"), now())
        known = list(connection.scalars(select(campaigns.c.id).order_by(campaigns.c.id)))
    shares = [count * 6 // 10, *[count * 4 // 10 // (len(known) - 1)] * (len(known) - 1)]
    first = 1
    for campaign, share in zip(known, shares, strict=True):
        _fill(engine, campaign, first, share)
        first += share
    with writing(engine) as connection:
        connection.execute(insert(lead_numbers).values(id=1, next=first))
    _settle(engine)
    return True


def _fill(engine: Engine, campaign: int, first: int, share: int) -> None:
    kind = engine.dialect.name
    with writing(engine, forgettable=True) as connection:
        if kind == "postgresql":
            with partitions.made(connection, campaign) as table:
                _pools(connection, campaign, first, share, table)
            return
        indexes = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'leads' AND sql IS NOT NULL"
        ).all()
        for name, _ in indexes:
            connection.exec_driver_sql(f'DROP INDEX "{name}"')
        _pools(connection, campaign, first, share, "leads")
        for _, statement in indexes:
            connection.exec_driver_sql(statement)


def _pools(connection: Connection, campaign: int, first: int, share: int, table: str) -> None:
    kind = connection.dialect.name
    facts = {name: connection.exec_driver_sql(query).scalar_one() for name, query in _FACTS.items()}
    for start in range(first, first + share, POOL):
        last = min(start + POOL, first + share) - 1
        values = {
            "name": f"file-{start}.csv",
            "state": PoolState.ACTIVE,
            "uploaded_by": "nordlead",
            "uploaded_at": NOON,
        }
        made = connection.execute(insert(pools).values(campaign_id=campaign, **values)).inserted_primary_key
        assert made is not None
        statement = _FILL.format(
            table=table, campaign=campaign, pool=made[0], worked=_WORKED[kind], **facts,
            numbers=_NUMBERS[kind].format(first=start, last=last),
        )  # fmt: skip
        connection.exec_driver_sql(statement.replace("%", "%%") if kind == "postgresql" else statement)


_FACTS = {
    "owner": "SELECT min(id) FROM owners",
    "caller": "SELECT min(id) FROM users",
    "opened": "SELECT id FROM statuses WHERE code = 'unprocessed'",
    "closed": "SELECT id FROM statuses WHERE code = 'not_interested'",
}


def _settle(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        engine.dispose()
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _one(field: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "op": op} | ({} if value is None else {"value": value})


_WALKED = ("uploaded_at", "id", "phone", "called_at", "pool_name", "campaign")
_SORTED = ("uploaded_at", "city", "last_name", "owner", "status_name", "priority", "extra.supplier", "row", "email")
_LAST_POOL = "SELECT max(id) FROM pools WHERE campaign_id = (SELECT min(id) FROM campaigns)"


def asked(pool: int, lead: int) -> Iterator[Asked]:
    """Lists that people look at: of everything, of a campaign, a pool, a worker, a rare value."""
    walked = [f"{sign}{name}" for name in _WALKED for sign in ("-", "")]
    campaign = _one("campaign", "is", "DK-ENERGY")
    wide = {
        "no filter": {},
        "campaign": campaign,
        "status open": {"all": [campaign, _one("status", "is", "open")]},
        "status closed (2 %)": _one("status", "is", "closed"),
        "city (10 %)": _one("city", "is", "odense"),
        "city and name (1 %)": {"all": [_one("city", "is", "Odense"), _one("last_name", "starts_with", "ber")]},
        "postcode range": _one("postcode", "between", ["4000", "5999"]),
        "template's field": _one("extra.supplier", "is", "Havvind"),
        "rare: one postcode": _one("postcode", "is", "4321"),
        "rare: an e-mail": _one("email", "is", f"anna.{lead}@example.com"),
        "nothing": _one("city", "is", "Nowhere"),
        "owner below": _one("owner", "below", "team:company"),
        "pool": _one("pool", "is", pool),
        "pool and city": {"all": [_one("pool", "is", pool), _one("city", "is", "Odense")]},
    }
    for kind, tree in wide.items():
        yield from (Asked(kind=kind, tree=tree, sort=sort) for sort in walked)
    few = {
        "few: a number": _one("phone", "is", f"+45{20_000_000 + lead}"),
        "few: phone begins": _one("phone", "starts_with", f"+45{20_000_000 + lead}"[:8]),
        "few: called on a day": {"all": [campaign, _one("called_at", "between", ["2026-06-10", "2026-06-10"])]},
        "few: some numbers": _one("id", "in", list(range(lead, lead + 500))),
    }
    for kind, tree in few.items():
        yield from (Asked(kind=kind, tree=tree, sort=sort) for sort in _SORTED)


def _measured(engine: Engine) -> Result:
    with reading(engine) as connection:
        fields = columns.fields_of(connection, ROOT / "schemas")
        pool = connection.exec_driver_sql(_LAST_POOL).scalar_one()
        lead = connection.exec_driver_sql("SELECT next FROM lead_numbers").scalar_one() // 3
    every = columns.known(fields)
    lists = list(asked(pool, lead))
    random.Random(1).shuffle(lists)
    times: dict[str, list[float]] = {}
    work: list[float] = []
    short: dict[str, int] = {}
    for each in lists:
        begun = time.process_time()
        for page, seconds in _pages(engine, each, fields, every):
            work.append((time.process_time() - begun) * 1000)
            begun = time.process_time()
            times.setdefault(each.kind, []).append(seconds * 1000)
            short[each.kind] = short.get(each.kind, 0) + (not page.complete)
    print(f"\n{engine.dialect.name:<24} {'pages':>6} {'p50':>8} {'p95':>8} {'max':>8}   went out of time")
    for kind, taken in sorted(times.items()):
        print(f"{kind:<24} {_line(taken)}   {short[kind] or ''}")
    whole = [taken for each in times.values() for taken in each]
    print(f"{'all':<24} {_line(whole)}")
    print(f"{'processor of this process':<24} {_line(work)[6:]}", flush=True)
    p95 = _quantile(whole, 0.95)
    return Result(
        what=f"Lead Admin page over {lead * 3:,} leads, {engine.dialect.name}",
        goal=f"p95 <= {GOAL_MS:.0f} ms",
        measured=f"p50 {_quantile(whole, 0.5):.0f} ms, p95 {p95:.0f} ms, max {max(whole):.0f} ms",
        ratio=f"{p95 / GOAL_MS:.2f} x",
        met=p95 <= GOAL_MS,
    )


def _line(taken: list[float]) -> str:
    figures = (_quantile(taken, 0.5), _quantile(taken, 0.95), max(taken))
    return f"{len(taken):>6} " + " ".join(f"{figure:>5.1f} ms" for figure in figures)


def _quantile(taken: list[float], share: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(len(taken) * share))]


def _pages(engine: Engine, each: Asked, fields: dict[str, Field], every: Any) -> Iterator[tuple[Page, float]]:
    """The first pages of a list, forwards, and one backwards."""
    wish = Wish(
        tree=filters.parsed(each.tree, fields), sort=ordering.parsed(each.sort, every), limit=50, who=None, at=now()
    )
    shown = columns.chosen([*columns.DEFAULT, "file", "row", "owner_name", "status_name"], every)
    for step in range(DEPTH):
        page, seconds = _timed(lambda wish=wish: _shown(engine, wish, shown))  # type: ignore[misc]
        yield page, seconds
        cursor = page.previous if step == DEPTH - 2 else page.next
        if cursor is None:
            return
        wish = replace(wish, cursor=cursor)


def _shown(engine: Engine, wish: Wish, shown: list[columns.Column]) -> Page:
    with reading(engine) as connection:
        page = listing.page(connection, wish)
        columns.cells(connection, page.places, shown, wish.at)
    return page


def _timed(work: Callable[[], Page]) -> tuple[Page, float]:
    begun = time.perf_counter()
    done = work()
    return done, time.perf_counter() - begun


if __name__ == "__main__":
    show(main(sys.argv[1:]))
