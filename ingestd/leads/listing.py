"""Lead Admin: a page of the leads of a filter, in any order that is offered (LEADS.md, "Lead Admin").

A page takes the same time wherever it is and however many leads there are. So either an index has the leads in the
order wanted, and is walked until the page is full or the time is over; or an index finds so few leads of the filter
that they are put in order for the page. An order that needs neither is not offered for the filter.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from ingestd.errors import Invalid
from ingestd.leads import conditions, filters, instants, ordering
from ingestd.leads import scope as scopes
from ingestd.leads.agents import Agent
from ingestd.leads.columns import NUMBER, Place
from ingestd.leads.filters import Filter
from ingestd.leads.ordering import Key, Order, Sort
from ingestd.leads.pool_facts import PoolFacts
from ingestd.leads.pool_facts import where as pools_where
from ingestd.leads.scope import Scope
from ingestd.leads.walking import Lane, Walk, Walked
from ingestd.store import texts
from ingestd.store.tables import leads as table
from ingestd.store.tables import pools

PATIENCE = 0.05
"""seconds that a page is looked for; what it costs beside has to fit into a tenth of a second too"""
COUNTED = 10_000
"""leads up to which they are counted"""
MERGED = 24
"""pools whose leads are merged; of more, the campaign is walked"""
LONGEST_CURSOR = 4_000
"""characters; a key may have a long text in it"""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which leads, in which order, and where to go on."""

    tree: Filter
    sort: Sort
    limit: int
    cursor: str | None = None
    who: Agent | None
    """whose sight it is; None: that of the house"""
    at: datetime
    patience: float = PATIENCE
    """seconds"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A part of the leads of a filter."""

    places: list[Place]
    next: str | None
    """the cursor of what follows; None: nothing does"""
    previous: str | None
    """the cursor of what is before; None: nothing is"""
    complete: bool
    """False: the time was over before the page was full, and `next` goes on looking"""
    searched_until: str | None
    """the value of the sort up to which leads were looked at, when it is not complete"""
    sorts: frozenset[str] | None
    """the columns by which the leads of this filter can be sorted; None: all"""


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many leads a filter has."""

    leads: int
    exact: bool
    """False: at least so many"""


def page(connection: Connection, wish: Wish, *, clock: Callable[[], float] = time.monotonic) -> Page:
    """The page; raises Invalid for a name that nothing has, a sort that is not offered, or a foreign cursor."""
    end = clock() + wish.patience
    names = conditions.terms(connection, wish.at)
    here = scopes.scope(connection, wish.tree, names, wish.who)
    back, after = _read_cursor(wish)
    order = Order(sort=wish.sort, back=back)
    found = _found(connection, here, Looked(wish=wish, order=order, after=after, end=end, clock=clock))
    return _page(wish, order, after, found, offered(here))


@dataclass(frozen=True, kw_only=True)
class Looked:
    """How a page is looked for."""

    wish: Wish
    order: Order
    after: Key | None
    end: float
    """of the time, by the clock"""
    clock: Callable[[], float]

    def along(self, connection: Connection, here: Scope, lanes: list[Lane], end: float) -> Walked:
        """One lead more than the page has tells that there are more."""
        walk = Walk(
            connection=connection,
            order=self.order,
            where=here.where,
            count=self.wish.limit + 1,
            in_time=lambda: self.clock() < end,
        )
        return walk.along(lanes, self.after)


def _found(connection: Connection, here: Scope, looked: Looked) -> Walked:
    """By an index that has the order; when half of the time did not do, and it is worth it, by putting few in order."""
    lanes, now = _lanes(connection, here, looked.wish.sort), looked.clock()
    if lanes is not None:
        found = looked.along(connection, here, lanes, looked.end if here.few is None else (now + looked.end) / 2)
        if found.until is None or here.few is None:
            return found
    if here.few is None:
        raise _not_offered(looked.wish.sort, here)
    return looked.along(connection, here, _few_lanes(here, looked.wish.sort), math.inf)


def every(connection: Connection, wish: Wish, *, size: int) -> Iterator[list[Place]]:
    """All leads of the filter in their order, at most `size` at a time, without a limit of time. Raises as `page`."""
    here = scopes.scope(connection, wish.tree, conditions.terms(connection, wish.at), wish.who)
    order, after = Order(sort=wish.sort), None
    lanes = _lanes(connection, here, wish.sort)
    if lanes is None and here.few is None:
        raise _not_offered(wish.sort, here)
    walk = Walk(connection=connection, order=order, where=here.where, count=size, in_time=lambda: True)
    while True:
        found = walk.along(_few_lanes(here, wish.sort) if lanes is None else lanes, after)
        if found.places:
            yield found.places
        if len(found.keys) < size:
            return
        after = found.keys[-1]


def offered(here: Scope) -> frozenset[str] | None:
    """The columns by which leads can be sorted; None: all that have an order."""
    if here.few is not None:
        return None
    return frozenset({"id", "phone", *ordering.STAMPS, *ordering.OF_POOLS})


def count(
    connection: Connection,
    tree: Filter,
    who: Agent | None,
    at: datetime,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Count:
    """How many leads of a filter a user sees: exactly up to COUNTED, and no longer counted than a page takes."""
    end = clock() + PATIENCE
    here = scopes.scope(connection, tree, conditions.terms(connection, at), who)
    if here.where is None or here.few is not None:
        return _count_at_once(connection, here)
    order = Order(sort=Sort(column=NUMBER, descending=True))
    walk = Walk(connection=connection, order=order, where=here.where, count=COUNTED + 1, in_time=lambda: clock() < end)
    walked = walk.along(_by_number(here), None)
    return Count(leads=min(len(walked.keys), COUNTED), exact=walked.until is None and len(walked.keys) <= COUNTED)


def _count_at_once(connection: Connection, here: Scope) -> Count:
    found = 0
    for number in here.campaigns:
        ways = () if here.few is None else (here.few[number],)
        mine = (table.c.campaign_id == number, *ways, *(() if here.where is None else (here.where,)))
        some = select(literal_column("1")).where(*mine).limit(COUNTED + 1 - found).subquery()
        found += connection.scalar(select(func.count()).select_from(some)) or 0
        if found > COUNTED:
            return Count(leads=COUNTED, exact=False)
    return Count(leads=found, exact=True)


def _lanes(connection: Connection, here: Scope, sort: Sort) -> list[Lane] | None:
    """Where indexes have the leads in order; None: nowhere."""
    name = sort.column.name
    if name == "id":
        return _by_number(here)
    if name == "phone":
        return [_lane(number, (0,), table.c.phone, table.c.id) for number in here.campaigns]
    if name in ordering.STAMPS:
        column = table.c[name]
        filled = [_lane(number, (0,), column, table.c.id, where=column.is_not(None)) for number in here.campaigns]
        return filled + [_lane(number, (1, None), table.c.id, where=column.is_(None)) for number in here.campaigns]
    if name in ordering.OF_POOLS:
        value = ordering.OF_POOLS[name]
        known = pools_where(connection, pools.c.campaign_id.in_(here.campaigns)) if here.pools is None else here.pools
        return [_of_pool(pool, (0, value(pool), pool.id)) for pool in known]
    return None


def _by_number(here: Scope) -> list[Lane]:
    if here.pools is not None and len(here.pools) <= MERGED:
        return [_of_pool(pool, (0,)) for pool in here.pools]
    return [_lane(number, (0,), table.c.id) for number in here.campaigns]


def _of_pool(pool: PoolFacts, head: Key) -> Lane:
    return _lane(pool.campaign_id, head, table.c.id, where=table.c.pool_id == pool.id)


def _lane(number: int, head: Key, *ordered: ColumnElement[Any], where: ColumnElement[bool] | None = None) -> Lane:
    return Lane(campaign_id=number, head=head, ordered=ordered, where=() if where is None else (where,))


def _few_lanes(here: Scope, sort: Sort) -> list[Lane]:
    """The few leads that an index finds, to be put in order as a whole."""
    assert here.few is not None
    ordered = ordering.values(sort, here.names)
    # The sum is no column, so that no database walks along an index of numbers and looks at every lead on the way.
    number = table.c.id + 0
    lanes = []
    for campaign_id, way in here.few.items():
        filled: tuple[ColumnElement[bool], ...] = (way,)
        if sort.column.name not in ordering.OF_POOLS and ordered:
            filled, empty = (way, ordered[0].is_not(None)), (way, ordered[0].is_(None))
            lanes.append(Lane(campaign_id=campaign_id, head=(1, None), where=empty, ordered=(number,), indexed=False))
        lanes.append(Lane(campaign_id=campaign_id, head=(0,), where=filled, ordered=(*ordered, number), indexed=False))
    return lanes


def _page(wish: Wish, order: Order, after: Key | None, found: Walked, sorts: frozenset[str] | None) -> Page:
    keys, places = found.keys[: wish.limit], found.places[: wish.limit]
    more = len(found.keys) > wish.limit
    beyond = keys[-1] if more else found.until
    here = keys[0] if keys else _behind(after, order)
    if order.back:
        keys, places = keys[::-1], places[::-1]
    forth, turn = (_cursor(wish, key, back=back) for key, back in ((beyond, order.back), (here, not order.back)))
    turn = turn if after is not None else None
    until = None if more else found.until
    ahead, behind = (turn, forth) if order.back else (forth, turn)
    return Page(
        places=places,
        next=ahead,
        previous=behind,
        complete=until is None,
        searched_until=None if until is None else _told(until),
        sorts=sorts,
    )


def _behind(key: Key | None, order: Order) -> Key | None:
    """Right behind a lead, so that who turns round on an empty page meets it again; else the place itself."""
    whole = 4 if order.sort.column.name in ordering.OF_POOLS else 2
    if key is None or len(key) < whole or key[-1] is None:
        return key
    return (*key[:-1], key[-1] + (-1 if order.descending else 1))


def _told(key: Key) -> str | None:
    """Up to which value leads were looked at."""
    if len(key) < 2 or key[1] is None:
        return None
    return key[1].isoformat() if isinstance(key[1], date) else str(key[1])


def _not_offered(sort: Sort, here: Scope) -> Invalid:
    names = sorted(offered(here) or ())
    told = f"more than {scopes.FEW:,} leads cannot be sorted by {sort.column.title}"
    hint = "narrow the filter: to a pool, a campaign, a phone, or a day on which somebody called or changed them"
    return Invalid("sort_not_offered", f"{told}; {hint}", field="sort", sorts=names)


def _cursor(wish: Wish, key: Key | None, *, back: bool) -> str | None:
    if key is None:
        return None
    word = json.dumps([_mark(wish), back, [_plain(value) for value in key]], separators=(",", ":"))
    return base64.urlsafe_b64encode(word.encode()).decode().rstrip("=")


def _read_cursor(wish: Wish) -> tuple[bool, Key | None]:
    """The direction and the key to go on behind; raises Invalid when it is of another list."""
    if wish.cursor is None:
        return False, None
    try:
        word = json.loads(base64.urlsafe_b64decode(wish.cursor + "=" * (-len(wish.cursor) % 4)))
        mark, back, key = word
        found = _key(key, wish.sort)
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError):
        raise _foreign() from None
    if mark != _mark(wish) or not isinstance(back, bool) or found is None:
        raise _foreign()
    return back, found


def _foreign() -> Invalid:
    return Invalid("cursor_unusable", "the cursor is none that this list has given", field="cursor")


def _mark(wish: Wish) -> str:
    """Tells the list to which a cursor belongs."""
    whole = json.dumps([filters.written(wish.tree), wish.sort.written], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _key(written: Any, sort: Sort) -> Key | None:
    """The key, or the beginning of one, if it can be one of this order: what is asked of the store is typed."""
    if not isinstance(written, list) or not written or written[0] not in (0, 1) or isinstance(written[0], bool):
        return None
    types: tuple[type, ...] = sort.types if written[0] == 0 else (type(None), int)
    if len(written) > len(types) + 1:
        return None
    rest = [_value(value, kind) for value, kind in zip(written[1:], types, strict=False)]
    return (written[0], *rest)


def _value(written: Any, kind: type) -> Any:
    if kind is date:
        return date.fromisoformat(written)
    if kind is datetime:
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is None:
            raise ValueError("a moment without time zone")
        return instants.in_utc(moment)
    too_large = isinstance(written, int) and not -(2**63) <= written < 2**63
    if type(written) is not kind or too_large or (isinstance(written, str) and not texts.kept(written)):
        raise ValueError("no value of this kind")
    return written
