"""One lead pool: what is in it, whose it is, who may call it, and what is done with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Form, Path, Query, Request, Response

from ingestd.access.permissions import Permission
from ingestd.errors import Missing
from ingestd.leads import kpis, pool_verbs, rights
from ingestd.leads.crews import Crews
from ingestd.leads.kpis import Group
from ingestd.leads.pool_verbs import VERBS
from ingestd.leads.statuses import Status
from ingestd.model import PoolState
from ingestd.store import pools as queries
from ingestd.store.engine import reading
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.paging import MOST
from ingestd.web.pages import figures
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import here, onward, show
from ingestd.web.pages.routes import Pages

pages = Pages()

LOOKING = needs(Permission.LEAD_POOLS)
LARGEST = 2**63 - 1
NAMED = 12
"""agents that are named; of the others it is said how many they are"""

Number = Annotated[int, Path(ge=1, le=LARGEST)]
Numbers = list[Annotated[int, Query(ge=1, le=LARGEST)]]
Next = Annotated[str, Query(max_length=2_000)]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What the person is asked before something is done."""

    title: str
    meaning: str
    confirm: str
    lasting: bool = False
    """True when it cannot be taken back"""


ASKING: Mapping[str, Asking] = {
    "activate": Asking(title="Activate", meaning="Their leads are given out again.", confirm="Activate"),
    "deactivate": Asking(
        title="Deactivate",
        meaning="Their leads are not given out any more, but for VIP and Private redials.",
        confirm="Deactivate",
    ),
    "shuffle": Asking(
        title="Shuffle",
        meaning="Their leads are dialled in a random order, in place of the file's.",
        confirm="Shuffle",
        lasting=True,
    ),
    "delete_unprocessed": Asking(
        title="Delete the unprocessed leads of",
        meaning="Leads that nobody has called or holds are deleted with their history. The pools and their logs stay.",
        confirm="Delete them",
        lasting=True,
    ),
    "undo": Asking(
        title="Undo the import of",
        meaning="All leads that its file brought are taken back, as long as nobody has worked with one of them. "
        "The pool, its log and the file stay, and the file can be imported again.",
        confirm="Undo the import",
        lasting=True,
    ),
}
assert tuple(ASKING) == VERBS

LABELS: Mapping[str, str] = {"delete_unprocessed": "Delete unprocessed", "undo": "Undo import"}
"""On buttons, where the titles of questions would be too long."""

_OFFERED: Mapping[PoolState, tuple[str, ...]] = {
    PoolState.ACTIVE: ("deactivate", "shuffle", "delete_unprocessed", "undo"),
    PoolState.INACTIVE: ("activate", "shuffle", "delete_unprocessed", "undo"),
}
_REFUSED_AT_ONCE = frozenset(
    {"invalid", "invalid_phone_number", "in_do_not_call_list", "in_global_do_not_call_list", "duplicate"}
)
"""Closed results that say that a lead should never have been called."""


@pages.get("/pools/act", access=LOOKING)
def ask(
    request: Request,
    desk: AtDesk,
    verb: Annotated[str, Query(max_length=32)] = "",
    pool: Annotated[Numbers, Query(max_length=MOST)] = [],  # noqa: B006 - FastAPI's way to say none
    next: Next = "/pools",  # noqa: A002 - the parameter's name in the address
) -> Response:
    """Asks whether something is to be done with these pools: a page, or with a script what a dialog says."""
    asking = _asking(verb)
    with reading(desk.engine) as connection:
        found = [each for number in dict.fromkeys(pool) if (each := queries.one(connection, number)) is not None]
    facts: dict[str, Any] = {"asking": asking, "verb": verb, "pools": found, "next": local_path(next)}
    return show(request, "pool_act.html", fragment="question", **facts)


@pages.post("/pools/act", access=LOOKING)
def act(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    verb: Annotated[str, Form(max_length=32)] = "",
    pool: Annotated[list[int], Form(max_length=MOST)] = [],  # noqa: B006
    why: Annotated[str, Form(max_length=500)] = "",
    next: Annotated[str, Form(max_length=2_000)] = "/pools",  # noqa: A002
) -> Response:
    """Does it with each pool by itself, and says of each what happened."""
    asking = _asking(verb)
    with reading(desk.engine) as connection:
        beyond = rights.out_of_reach(connection, caller)
    fates = pool_verbs.each(desk.ledger, caller.deed(desk.clock(), why.strip()), verb, pool, beyond)
    names = _names(desk, pool)
    back = local_path(next)
    if len(fates) == 1 and fates[0].done:
        return onward(back, f"{names.get(fates[0].number, '')}: {fates[0].told}.")
    return show(request, "pool_acted.html", asking=asking, fates=fates, names=names, next=back)


@pages.get("/pools/{number}", access=LOOKING)
def one_pool(request: Request, desk: AtDesk, number: Number) -> Response:
    """Facts, totals that add up, figures, downloads; owners come after, since they are counted from the leads."""
    with reading(desk.engine) as connection:
        pool = _pool(queries.one(connection, number), number)
        known = kpis.known(connection)
        added = figures.chosen(request, known)
        quick = [kpi.name for kpi in added if not figures.slow(kpi)]
        measured = kpis.measured(connection, number, quick, desk.clock()) if quick else []
        by_status = kpis.by_status(connection, number)
    values = {kpi.name: figures.written(kpi, value) for kpi, value in measured}
    delivery = desk.ledger.of_pool(number)
    return show(
        request,
        "pool.html",
        here=figures.standing(here(request), added),
        pool=pool,
        delivery=delivery,
        totals=totals(by_status),
        by_status=by_status,
        added=added,
        figures=[(kpi, values.get(kpi.name)) for kpi in added],
        choices=figures.groups(known, added),
        kpi_title=figures.title,
        verbs=[(verb, LABELS.get(verb, ASKING[verb].title)) for verb in _OFFERED.get(PoolState(pool["state"]), ())],
    )


@pages.get("/pools/{number}/owners", access=LOOKING)
def owners(request: Request, desk: AtDesk, number: Number) -> Response:
    """Who owns how many of its leads, and who may call them."""
    with reading(desk.engine) as connection:
        pool = _pool(queries.one(connection, number), number)
        found = queries.owners(connection, number)
        crews = Crews.read(connection)
    shares = [{**each, "crew": crews.of(f"{each['kind']}:{each['key']}", pool["campaign"])} for each in found]
    return show(request, "pool_owners.html", fragment="owners", pool=pool, owners=shares, named=NAMED)


def totals(by_status: Iterable[tuple[Status, Group]]) -> list[tuple[str, int, str]]:
    """The leads of a pool in a few groups that add up to all of them: (word, count, tone). Pure."""
    found = {word: 0 for word, _ in _GROUPS}
    for status, group in by_status:
        found[_group(status)] += group.leads
    return [(word, found[word], tone) for word, tone in _GROUPS]


_GROUPS = (("unprocessed", "calm"), ("open, worked with", "busy"), ("success", "good"), ("closed otherwise", "off"),
           ("not to be called", "bad"))  # fmt: skip


def _group(status: Status) -> str:
    if status.code == "unprocessed":
        return "unprocessed"
    if status.open:
        return "open, worked with"
    if status.code == "success":
        return "success"
    return "not to be called" if status.code in _REFUSED_AT_ONCE else "closed otherwise"


def _asking(verb: str) -> Asking:
    if verb not in ASKING:
        raise Missing("verb_unknown", "that is nothing that can be done with pools")
    return ASKING[verb]


def _pool(found: dict[str, Any] | None, number: int) -> dict[str, Any]:
    if found is None:
        raise Missing("pool_unknown", f"there is no pool {number}")
    return found


def _names(desk: Desk, numbers: Iterable[int]) -> dict[int, str]:
    with reading(desk.engine) as connection:
        found = [queries.one(connection, number) for number in numbers]
    return {pool["id"]: pool["name"] for pool in found if pool is not None}
