"""Leads that are typed in by hand: the same checks as for a file, the same screening, the same fence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Engine, func, insert, select, update

from ingestd import schemas
from ingestd.access.permissions import Permission
from ingestd.errors import Conflict, Denied
from ingestd.ingest import comparing, load, ownership, problems, screening
from ingestd.ingest.screening import Screened
from ingestd.leads import access, agents, checking, ending, history, lead, rights, statuses
from ingestd.leads.agents import Agent
from ingestd.leads.checking import Problem
from ingestd.leads.history import Stamp
from ingestd.model import CampaignRules, Outcome, Owner, Owners, PoolState
from ingestd.settings import code_key
from ingestd.store import fences, loading, rules, tables
from ingestd.store.engine import reading, writing

TOGETHER = timedelta(hours=1)
"""Leads that one user types within this time of the first share a pool (LEADS.md, "lead pool")."""


AGAIN = "typed in again"


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What a user typed."""

    campaign: str
    values: Mapping[str, str | None]
    """fields as people write them"""
    by: Agent
    at: datetime
    owner: str | None = None
    """`team:<key>` or `user:<login>`; None: the lead's ownership code, else the top-level team"""


@dataclass(frozen=True, kw_only=True)
class Created:
    """What became of it."""

    lead_id: int
    outcome: Outcome
    """inserted; or updated or unchanged, where the campaign's duplicates update the lead that is there"""
    remarks: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What the store says when the work begins."""

    campaign: CampaignRules
    schema: schemas.Schema
    owners: Owners
    default: Owner
    statuses: Mapping[str, int]


def check_may(connection: Connection, typed: Typed) -> None:
    """Agents type leads into campaigns that they call in, for owners within their reach; lead admins for everybody.

    Raises Denied. What does not exist is refused by `create`.
    """
    who, owners = typed.by, rules.owners(connection)
    if Permission.LEAD_ADMIN in who.permissions:
        return
    here = next((each for each in access.campaigns(connection).values() if each.code == typed.campaign), None)
    if here is not None and not (here.open_to(who) and here.running(typed.at)):
        raise _beyond(f"{who.login} does not call in {typed.campaign}")
    code = (typed.values.get("ownership_code") or "").strip()
    for owner in (owners.by_name.get(typed.owner or ""), owners.by_code.get(code_key(code))):
        if owner is not None and owner.id not in who.reach:
            raise _beyond(f"{owner.kind}:{owner.name} is neither {who.login}, nor their team or one above it")


def _beyond(told: str) -> Denied:
    wanted = Permission.LEAD_ADMIN
    return Denied("permission_missing", f"{told}; that needs the permission {wanted}", permission=wanted)


def create(engine: Engine, schema_folder: Path, typed: Typed) -> Created:
    """Makes a lead; raises Refused with every problem, among them a duplicate, or Rejected: no such campaign, owner.

    And Conflict when it would change a lead that is there and that the user may not change.
    """
    with reading(engine) as connection:
        plan = _plan(connection, schema_folder, typed)
    record, found = _record(plan, typed)
    while True:  # once, unless a load into the campaign comes between screening and writing
        with reading(engine) as connection:
            screened = screening.screen(connection, record, plan.campaign, "Phone")
        remarks = (*found, *checking.problems_of(screened.problems))
        if not screened.settled.is_empty() and screened.settled["outcome"][0] != Outcome.UNCHANGED:
            raise checking.Refused(remarks)
        if screened.new.is_empty() and screened.updates.is_empty():
            return Created(lead_id=screened.settled["lead_id"][0], outcome=Outcome.UNCHANGED, remarks=remarks)
        number = loading.reserve_numbers(engine, screened.new.height)
        with writing(engine) as connection:
            if fences.passed(connection, screened.fence):
                return _store(connection, plan, typed, screened, number, remarks)


def _plan(connection: Connection, schema_folder: Path, typed: Typed) -> _Plan:
    campaign = rules.campaign(connection, typed.campaign)
    owners = rules.owners(connection)
    top = agents.top_team(connection)
    default = next(owner for owner in owners.by_name.values() if owner.id == top)
    if typed.owner is not None:
        default = rules.named_owner(owners, typed.owner)
    return _Plan(
        campaign=campaign,
        schema=schemas.read(schema_folder, campaign.template),
        owners=owners,
        default=default,
        statuses=rules.statuses(connection),
    )


def _record(plan: _Plan, typed: Typed) -> tuple[pl.DataFrame, tuple[Problem, ...]]:
    """The record that goes to screening, and remarks; raises Refused when it has errors."""
    required = {field.name: None for field in plan.schema.fields if field.required}
    lenient = plan.campaign.on_invalid_phone == "close"
    values = {**required, **typed.values}
    checked = checking.judge(plan.schema, plan.campaign, values, typed.at.date(), lenient=lenient)
    if typed.owner is not None and "ownership_code" in checked.frame.columns:  # who is named outright is meant
        frame = checked.frame.with_columns(pl.lit(None, dtype=pl.String).alias("ownership_code"))
    else:
        frame = checked.frame
    policy = ownership.Policy(default=plan.default, unknown_to_default=False)
    owned, unowned = ownership.resolve(frame, "Lead Ownership Code", plan.owners, policy, None)
    found = checking.problems_of(problems.gather([checked.problems, unowned]))
    if refused := checking.errors(found):
        raise checking.Refused(refused)
    extra = [field.name for field in plan.schema.extra if field.name in owned.columns]
    return load.pack_extra(owned, extra), found


def _store(
    connection: Connection, plan: _Plan, typed: Typed, screened: Screened, number: int, remarks: tuple[Problem, ...]
) -> Created:
    if screened.new.is_empty():
        return _update(connection, typed, screened.updates, remarks)
    pool_id = _pool(connection, plan.campaign.id, typed)
    target = load.Target(campaign_id=plan.campaign.id, pool_id=pool_id, statuses=plan.statuses)
    row = pl.lit(_next_row(connection, plan.campaign.id, pool_id), dtype=pl.UInt32).alias("row")
    frame = load.lead_frame(load.number(screened.new.with_columns(row), number), target)
    loading.insert_leads(connection, frame)
    this = (tables.leads.c.campaign_id == plan.campaign.id, tables.leads.c.id == number)
    signed = {"created_by_id": typed.by.id, "modified_by_id": typed.by.id, "modified_at": typed.at, "version": 1}
    connection.execute(update(tables.leads).where(*this).values(signed))
    stamp = Stamp(kind="created", by=typed.by.id, at=typed.at)
    made = {"status": (None, screened.new["status"][0]), "owner": (None, screened.new["owner_id"][0])}
    history.record(connection, (plan.campaign.id, number, 1), made, stamp)
    return Created(lead_id=number, outcome=Outcome.INSERTED, remarks=remarks)


def _update(connection: Connection, typed: Typed, updates: pl.DataFrame, remarks: tuple[Problem, ...]) -> Created:
    """The number is there already, and the campaign says that its lead takes what was typed."""
    values = comparing.said(updates.row(0, named=True))
    here = lead.take(connection, updates["id"][0])
    if not rights.may_change(connection, typed.by, here.id):
        told = f"the campaign {typed.campaign} has this number already, with a lead that is not yours to change"
        raise Conflict("duplicate_elsewhere", told)
    lead.refuse_if_locked(connection, here, by=typed.by.id, at=typed.at)
    if "extra" in values:
        values["extra"] = {**here.extra, **values["extra"]}
    listed, stamp = values.pop("status_id", None), Stamp(kind="edited", by=typed.by.id, at=typed.at, why=AGAIN)
    if values:
        lead.write(connection, here, values, stamp)
    if listed is not None:
        ending.close(connection, here.campaign_id, [here.id], statuses.read(connection).by_id[listed], stamp)
    return Created(lead_id=here.id, outcome=Outcome.UPDATED, remarks=remarks)


def _pool(connection: Connection, campaign_id: int, typed: Typed) -> int:
    """The pool of what the user typed lately. Nobody else makes one: the campaign's fence is passed."""
    pool = tables.pools.c
    mine = (pool.campaign_id == campaign_id, pool.delivery_id.is_(None), pool.uploaded_by == typed.by.login)
    recent = (pool.uploaded_at > typed.at - TOGETHER, pool.state == PoolState.ACTIVE)
    found: int | None = connection.scalar(select(pool.id).where(*mine, *recent).order_by(pool.id.desc()).limit(1))
    if found is not None:
        return found
    values = {
        "campaign_id": campaign_id,
        "name": f"typed by {typed.by.login}, {typed.at:%Y-%m-%d %H:%M} UTC",
        "state": PoolState.ACTIVE,
        "uploaded_by": typed.by.login,
        "uploaded_at": typed.at,
    }
    made = connection.execute(insert(tables.pools).values(values)).inserted_primary_key
    assert made is not None
    number: int = made[0]
    return number


def _next_row(connection: Connection, campaign_id: int, pool_id: int) -> int:
    this = (tables.leads.c.campaign_id == campaign_id, tables.leads.c.pool_id == pool_id)
    return (connection.scalar(select(func.max(tables.leads.c.row)).where(*this)) or 0) + 1
