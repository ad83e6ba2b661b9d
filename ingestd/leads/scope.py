"""Where the leads of a filter can be: in which campaigns and pools, and among how few by an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.sql.elements import True_

from ingestd.leads import access, conditions, ordering, pool_facts, selection
from ingestd.leads.agents import Agent
from ingestd.leads.conditions import Terms
from ingestd.leads.filters import Comparison, Every, Filter
from ingestd.leads.pool_facts import PoolFacts
from ingestd.store.tables import campaigns, pools
from ingestd.store.tables import leads as table

FEW = 10_000
"""Leads that are put in order for one page when no index has them in it. They may lie anywhere: 10,000 take SQLite some
50 ms."""
OF_POOLS = frozenset({"pool", "uploaded_at", "uploaded_by"})
"""Fields that all leads of a pool have in common, beside campaign and project."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The leads that are meant, and what is known of where they are."""

    campaigns: tuple[int, ...]
    where: ColumnElement[bool] | None
    """which of the leads there are meant; None: all"""
    pools: tuple[PoolFacts, ...] | None
    """the only pools that they can be in; None: any"""
    few: Mapping[int, ColumnElement[bool]] | None
    """by campaign, what to add to the filter so that an index finds its leads among at most FEW; None: they are more"""
    names: Terms


def scope(connection: Connection, tree: Filter, names: Terms, who: Agent | None) -> Scope:
    """The leads of a filter that a user sees; `who` None: everybody's. Raises Invalid for names that nothing has."""
    seen = true() if who is None else access.visible_to(who)
    asked = conditions.condition(tree, names)
    everything = isinstance(tree, Every) and not tree.parts and isinstance(seen, True_)
    confined = conditions.campaigns_of(tree, names)
    numbers = sorted(connection.scalars(select(campaigns.c.id)).all() if confined is None else confined)
    found = _pools(connection, tree, names, numbers)
    if found is not None:
        numbers = sorted({pool.campaign_id for pool in found})
    return Scope(
        campaigns=tuple(numbers),
        where=None if everything else and_(asked, seen),
        pools=found,
        few=_few(connection, list(_indexed(tree, names)), found, numbers),
        names=names,
    )


def _conjoined(tree: Filter) -> Iterator[Comparison]:
    """The comparisons that must all hold."""
    if isinstance(tree, Comparison):
        yield tree
    elif isinstance(tree, Every):
        for part in tree.parts:
            yield from _conjoined(part)


def _pools(connection: Connection, tree: Filter, names: Terms, numbers: Iterable[int]) -> tuple[PoolFacts, ...] | None:
    asked = [each for each in _conjoined(tree) if each.field.name in OF_POOLS]
    if not asked:
        return None
    named = select(pools.c.id.label("pool_id"), pools.c.campaign_id).subquery("named")
    told = [conditions.moved(conditions.condition(each, names), dict(named.c.items())) for each in asked]
    mine = select(named.c.pool_id).where(named.c.campaign_id.in_(list(numbers)), *told)
    return tuple(pool_facts.where(connection, selection.among(connection, pools.c.id, connection.scalars(mine))))


def _indexed(tree: Filter, names: Terms) -> Iterator[tuple[ColumnElement[bool], ColumnElement[bool]]]:
    """Parts of the filter that an index answers (`store.tables`): what it finds, and what to add to the filter for it.

    The part itself is not added once more: PostgreSQL takes two lists of 500 numbers for 250,000 looks into the index.
    """
    for one in _conjoined(tree):
        way = _way(one, names)
        if way is not None:
            yield and_(way, conditions.condition(one, names)), way


def _way(one: Comparison, names: Terms) -> ColumnElement[bool] | None:
    """What has to be said beside a comparison so that its index is used; None: it has none."""
    name, op, leads = one.field.name, one.op, table.c
    told = {
        "id": selection.NOT_BY_POOL if op in ("is", "in") else None,
        "phone": selection.NOT_BY_POOL if op in ("is", "in") else None,
        "processed_by": leads.processed_by_id.is_not(None) if op in ("is", "in", "filled", "below") else None,
        "deactivated": leads.deactivated_at.is_not(None) if one.value else None,
        "locked": leads.locked_until > names.at if one.value else None,
    }
    if name == "phone" and op == "starts_with":
        return and_(leads.phone >= str(one.value), leads.phone < f"{one.value}\U0010ffff")
    if name == "status" and op in ("is", "in") and not _imported(one, names):
        return leads.status_at.is_not(None)
    if name in ordering.STAMPS and op != "empty":
        return leads[name].is_not(None)
    return told.get(name)


def _imported(one: Comparison, names: Terms) -> bool:
    """True when leads can have been uploaded with the status, and are not in the index of what came later."""
    wanted = one.value if isinstance(one.value, tuple) else (one.value,)
    book = names.book.by_code
    return any(code not in book or book[code].import_may_set for code in wanted)


def _few(
    connection: Connection,
    indexed: list[tuple[ColumnElement[bool], ColumnElement[bool]]],
    found: tuple[PoolFacts, ...] | None,
    numbers: list[int],
) -> dict[int, ColumnElement[bool]] | None:
    ways: dict[int, ColumnElement[bool]] = {}
    left = FEW
    for number in numbers:
        tried = [*indexed]
        if found is not None:
            mine = [pool.id for pool in found if pool.campaign_id == number]
            inside = selection.among(connection, table.c.pool_id, mine)
            tried.append((inside, inside))
        for found_by, way in tried or [(true(), true())]:
            count = _counted(connection, number, found_by, left)
            if count is not None:
                ways[number] = way
                left -= count
                break
        else:
            return None
    return ways


def _counted(connection: Connection, campaign_id: int, way: ColumnElement[bool], most: int) -> int | None:
    """How many an index finds; None: more than `most`, and nobody counted them."""
    some = select(literal_column("1")).where(table.c.campaign_id == campaign_id, way).limit(most + 1).subquery()
    count = connection.scalar(select(func.count()).select_from(some)) or 0
    return None if count > most else count
