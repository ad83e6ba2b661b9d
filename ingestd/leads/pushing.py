"""Leads that a source pushes one by one: judged as those of its files, and each loaded at once, with its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Engine

from ingestd import schemas
from ingestd.errors import Invalid, Missing, Rejected
from ingestd.ingest import judging, load, mapping, ownership, poollog, problems, screening, updates, validation
from ingestd.ingest.screening import Screened
from ingestd.ingest.updates import Bringing
from ingestd.leads import checking, ending
from ingestd.model import Arrival, CampaignRules, Outcome, Owners
from ingestd.schemas import Schema
from ingestd.settings import Source
from ingestd.store import fences, loading, orders, pushes, rules
from ingestd.store.engine import reading, writing
from ingestd.store.pushes import Fate, Row

LOADED = (Outcome.INSERTED, Outcome.UPDATED, Outcome.UNCHANGED)


@dataclass(frozen=True, kw_only=True)
class Push:
    """One lead as it came."""

    arrival: Arrival
    values: Mapping[str, str]
    """header or field → text"""
    at: datetime
    size: int
    """bytes"""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What became of it."""

    delivery_id: int
    row: int
    pool_id: int
    fate: Fate


Also = Callable[[Connection, Pushed], None]
"""What is written in the same transaction; what it raises takes the lead back."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    source: Source
    campaign: CampaignRules
    schema: Schema
    owners: Owners
    statuses: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """The record with its owner, and what was found before screening."""

    frame: pl.DataFrame
    problems: pl.DataFrame
    phone: str | None
    """as read, or as written when it cannot be"""
    column: str
    """the header of the phone"""


def push(engine: Engine, schema_folder: Path, what: Push, also: Also) -> Pushed:
    """Loads a lead, or says why not; either way its fate is in the log when this returns.

    Raises Missing for a source that is not active any more, Invalid for what is no lead at all.
    """
    with reading(engine) as connection:
        plan = _plan(connection, schema_folder, what)
    judged = _judge(plan, what)
    while True:  # once, unless a load into the campaign comes between screening and writing
        screened = None
        if poollog.rejected_rows(judged.problems).is_empty():
            with reading(engine) as connection:
                screened = screening.screen(connection, judged.frame, plan.campaign, judged.column)
        coming = 0 if screened is None else screened.new.height
        number = loading.reserve_numbers(engine, coming) if coming else 0
        with writing(engine) as connection:
            # The campaign before the source, as whoever changes both takes them.
            if _held(connection, plan, screened):
                pushed = _store(connection, plan, what, judged, screened, number)
                also(connection, pushed)
                return pushed


def _held(connection: Connection, plan: _Plan, screened: Screened | None) -> bool:
    """Holds the campaign; False when the screening was overtaken."""
    if screened is not None:
        return fences.passed(connection, screened.fence)
    fences.hold(connection, plan.campaign.id)
    return True


def _plan(connection: Connection, schema_folder: Path, what: Push) -> _Plan:
    source = orders.source(connection, what.arrival)
    if source is None:
        raise Missing("source_unknown", f"there is no source {what.arrival.source}")
    campaign = rules.campaign(connection, judging.campaign_code(source, what.arrival.folder))
    return _Plan(
        source=source,
        campaign=campaign,
        schema=schemas.read(schema_folder, campaign.template),
        owners=rules.owners(connection),
        statuses=rules.statuses(connection),
    )


def _judge(plan: _Plan, what: Push) -> _Judged:
    try:
        columns = mapping.assign(tuple(what.values), plan.schema, plan.source.mapping)
    except Rejected as problem:
        raise Invalid("value_unusable", f"{problem.message}; {problem.suggestion}", field="body") from problem
    texts = {field: what.values[header] for field, header in columns.items()}
    # What a file must have is asked of every lead, too; here it is the lead that lacks it.
    absent = {field.name: field for field in plan.schema.fields if field.required and field.name not in columns}
    columns |= {name: field.title for name, field in absent.items()}
    frame = checking.frame_of(plan.schema, {**texts, **dict.fromkeys(absent)})
    checked = validation.check(frame, columns, _rules(plan, what))
    policy = ownership.policy(plan.source, plan.owners)
    owned, unowned = ownership.resolve(checked.frame, columns.get("ownership_code", ""), plan.owners, policy, None)
    extra = [field.name for field in plan.schema.extra if field.name in owned.columns]
    return _Judged(
        frame=load.pack_extra(owned, extra),
        problems=problems.gather([checked.problems, unowned]),
        phone=checked.frame["phone"][0] or frame["phone"][0],
        column=columns["phone"],
    )


def _rules(plan: _Plan, what: Push) -> validation.Rules:
    return validation.Rules(
        schema=plan.schema,
        region=plan.campaign.region,
        timezone=plan.campaign.timezone,
        dates=plan.source.dates,
        today=what.at.date(),
        invalid_phone_closes=plan.campaign.on_invalid_phone == "close",
    )


def _store(
    connection: Connection, plan: _Plan, what: Push, judged: _Judged, screened: Screened | None, number: int
) -> Pushed:
    delivery = pushes.gathering(connection, what.arrival, plan.campaign.id, what.at)
    row = delivery.counts.records + 1
    fate = _fate(plan, what, judged, screened, number)
    pool_id = pushes.pool_of(connection, delivery, plan.campaign.id, loaded=fate.outcome in LOADED)
    if screened is not None and not screened.new.is_empty():
        target = load.Target(campaign_id=plan.campaign.id, pool_id=pool_id, statuses=plan.statuses)
        placed = screened.new.with_columns(pl.lit(row, dtype=pl.UInt32).alias("row"))
        loading.insert_leads(connection, load.lead_frame(load.number(placed, number), target))
    if screened is not None and not screened.updates.is_empty():
        how = Bringing(
            campaign_id=plan.campaign.id,
            schema=plan.schema,
            at=what.at,
            why=updates.brought_by(delivery.id),
            close=ending.close_listed,
        )
        updates.write(connection, screened.updates, how)
    by = what.arrival.login
    pushes.add(connection, delivery, pool_id, Row(row=row, pushed_at=what.at, pushed_by=by, fate=fate), what.size)
    return Pushed(delivery_id=delivery.id, row=row, pool_id=pool_id, fate=fate)


def _fate(plan: _Plan, what: Push, judged: _Judged, screened: Screened | None, number: int) -> Fate:
    found = judged.problems
    if screened is None:
        outcome, lead_id = Outcome.REJECTED, None
    else:
        found = problems.gather([found, screened.problems])
        outcome, lead_id = _ended(screened, number)
    names = {owner.id: name for name, owner in plan.owners.by_name.items()}
    fate = Fate(
        outcome=outcome,
        lead_id=lead_id,
        phone=judged.phone,
        owner=names.get(judged.frame["owner_id"][0]),
        fields=None,
        problems=found.drop("row").to_dicts(),
    )
    return fate if outcome in LOADED else replace(fate, fields=dict(what.values))


def _ended(screened: Screened, number: int) -> tuple[Outcome, int | None]:
    if not screened.new.is_empty():
        return Outcome.INSERTED, number
    if not screened.updates.is_empty():
        return Outcome.UPDATED, screened.updates["id"][0]
    return Outcome(screened.settled["outcome"][0]), screened.settled["lead_id"][0]
