"""The road of a delivery, from durable bytes to an active lead pool with its log. One room a line, top to bottom."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from ingestd import schemas
from ingestd.errors import Misconfigured, Rejected, Unavailable
from ingestd.ingest import load, mapping, ownership, poollog, problems, reading, screening, validation
from ingestd.ingest.screening import Screened
from ingestd.ingest.stopwatch import Stopwatch
from ingestd.model import CampaignRules, Counts, Delivery, Outcome, Owners, PoolState, State
from ingestd.schemas import Schema
from ingestd.settings import Source
from ingestd.spool import Spool
from ingestd.store import engine as store
from ingestd.store import loading, organisation, pools, rules
from ingestd.store.ledger import Fenced, Ledger

NOTE_AFTER_SECONDS = 0.5
"""A delivery that takes longer says in the ledger where it is; for a small one that would be most of the work."""

Onlooker = Callable[[str], None]
"""Is told the name of each stage as it begins."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Road:
    """What the road needs of the house."""

    engine: Engine
    ledger: Ledger
    spool: Spool
    logs: Path
    schemas: Path
    max_attempts: int = 5

    def travel(self, delivery_id: int, onlooker: Onlooker | None = None) -> None:
        """Brings a delivery to its end, if it has not ended yet; raises Unavailable to be tried again."""
        delivery = self.ledger.begin(delivery_id, max_attempts=self.max_attempts)
        if delivery is None:
            return
        trip = Trip(road=self, delivery=delivery, watch=Stopwatch(), onlooker=onlooker or (lambda _stage: None))
        try:
            trip.go()
        except Rejected as refusal:
            trip.refuse(refusal)
        except Fenced:
            raise
        except (Unavailable, Misconfigured) as away:
            # Ours, not the file's: it waits until we are well again, however long that takes.
            self.ledger.postpone(delivery, str(away))
            raise Unavailable(str(away)) from away
        except Exception as problem:
            # Noted for the dead letter, then raised: a bug ends this worker and never passes in silence.
            self.ledger.note(delivery, error=f"{type(problem).__name__}: {problem}"[:2000])
            raise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What the store says about the delivery's source and campaign when the road begins."""

    source: Source
    campaign: CampaignRules
    schema: Schema
    owners: Owners
    statuses: Mapping[str, int]
    organisation_version: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """Every record of the file with its owner, and all problems found before screening."""

    origin: poollog.Origin
    mapped: mapping.Mapped
    frame: pl.DataFrame
    problems: pl.DataFrame
    rejected: pl.Series

    @property
    def passed(self) -> pl.DataFrame:
        """The records without an error."""
        if self.rejected.is_empty():
            return self.frame
        return self.frame.filter(~pl.col("row").is_in(self.rejected.implode()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trip:
    """One attempt at one delivery."""

    road: Road
    delivery: Delivery
    watch: Stopwatch
    onlooker: Onlooker

    def go(self) -> None:
        """The table of contents of ingestd."""
        plan = self._plan()
        with self._stage("read"):
            sheet = reading.read(self._bytes(), name=self.delivery.name, hints=plan.source.dialect.hints())
        with self._stage("map"):
            mapped = mapping.apply(sheet, plan.schema, plan.source.mapping)
            origin, unreadable = poollog.Origin.of(sheet), sheet.problems
            del sheet
        with self._stage("validate"):
            checked = validation.check(mapped.frame, mapped.columns, self._rules(plan))
            mapped = dataclasses.replace(mapped, frame=mapped.frame.select("row", "phone"))
        with self._stage("resolve"):
            judged = self._resolve(plan, origin, mapped, checked, unreadable)
        del checked
        loaded = False
        while not loaded:  # once, unless another load into the campaign came between screening and loading
            with self._stage("screen"):
                screened = self._screen(plan, judged)
            with self._stage("load"), self._fence():
                loaded = self._load(plan, judged, screened)

    def refuse(self, why: Rejected) -> None:
        """Ends the delivery without loading anything, with a log that says why."""
        reason = {"code": why.code, "message": why.message, "suggestion": why.suggestion, "line": why.line}
        header = {**poollog.delivery_header(self.delivery), "state": State.REFUSED, "refused": reason}
        poollog.write_refusal(self._log_folder(), header=header)
        self.road.ledger.refuse(self.delivery, why, log_key=self._log_key())

    def _plan(self) -> Plan:
        with store.reading(self.road.engine) as connection:
            source = organisation.source(connection, self.delivery.source)
            if source is None:
                raise Rejected("source_unknown", f"the source {self.delivery.source!r} is not active any more")
            code = _campaign_code(source, self.delivery.folder)
            campaign = rules.campaign(connection, code)
            return Plan(
                source=source,
                campaign=campaign,
                schema=schemas.read(self.road.schemas, campaign.template),
                owners=rules.owners(connection),
                statuses=rules.statuses(connection),
                organisation_version=organisation.version(connection, "organisation"),
            )

    def _bytes(self) -> bytes:
        try:
            return self.road.spool.path(self.delivery.spool_key).read_bytes()
        except OSError as problem:
            raise Unavailable(f"the received file cannot be read: {problem}") from problem

    def _rules(self, plan: Plan) -> validation.Rules:
        return validation.Rules(
            schema=plan.schema,
            region=plan.campaign.region,
            timezone=plan.campaign.timezone,
            dates=plan.source.dates,
            today=self.delivery.received_at.date(),
            invalid_phone_closes=plan.campaign.on_invalid_phone == "close",
        )

    def _resolve(
        self,
        plan: Plan,
        origin: poollog.Origin,
        mapped: mapping.Mapped,
        checked: validation.Checked,
        unreadable: pl.DataFrame,
    ) -> Judged:
        path = f"{self.delivery.folder}/{self.delivery.name}".lstrip("/")
        named = ownership.from_name(plan.source.code_in_name, path, plan.owners)
        column = mapped.columns.get("ownership_code", "")
        owned, unowned = ownership.resolve(checked.frame, column, plan.owners, _policy(plan), named)
        found = problems.gather([unreadable, checked.problems, unowned])
        extra = [field.name for field in plan.schema.extra if field.name in owned.columns]
        rejected = poollog.rejected_rows(found)
        return Judged(
            origin=origin, mapped=mapped, frame=load.pack_extra(owned, extra), problems=found, rejected=rejected
        )

    def _screen(self, plan: Plan, judged: Judged) -> Screened:
        with store.reading(self.road.engine) as connection:
            screened = screening.screen(connection, judged.passed, plan.campaign, judged.mapped.columns["phone"])
        _check_limits(plan.source, judged, screened)
        return screened

    def _load(self, plan: Plan, judged: Judged, screened: Screened) -> bool:
        """True when everything is committed; False when the screening was overtaken and must be done again."""
        first = loading.reserve_numbers(self.road.engine, screened.new.height)
        new = load.number(screened.new, first)
        ended = _ended(new, screened)
        rows = poollog.outcomes(judged.origin, ended, judged.rejected)
        counts = poollog.count(rows)
        found = problems.gather([judged.problems, screened.problems])
        told = _rows_for_log(rows, judged, plan)
        with store.writing(self.road.engine) as connection, ThreadPoolExecutor(1) as other:
            if not loading.pass_fence(connection, screened.fence):
                return False
            # The log is written beside the load, and is durable before the commit that refers to it.
            log = other.submit(
                poollog.write,
                self._log_folder(),
                header=self._header(plan, judged, counts),
                origin=judged.origin,
                rows=told,
                found=found,
                counts=counts,
            )
            pool_id = self._store(connection, plan, new, screened.updates, counts)
            log.result()
            self._finish(connection, pool_id, counts)
        return True

    def _store(
        self, connection: Connection, plan: Plan, new: pl.DataFrame, updates: pl.DataFrame, counts: Counts
    ) -> int:
        pool_id = pools.create(connection, self.delivery, plan.campaign.id, _pool_state(counts))
        target = load.Target(campaign_id=plan.campaign.id, pool_id=pool_id, statuses=plan.statuses)
        if not new.is_empty():
            loading.insert_leads(connection, load.lead_frame(new, target))
        if not updates.is_empty():
            loading.update_leads(connection, _changes(updates), plan.campaign.id)
        return pool_id

    def _finish(self, connection: Connection, pool_id: int, counts: Counts) -> None:
        self.road.ledger.receipt(connection, self.delivery)
        clean = counts.rejected == 0 and counts.duplicate == 0
        self.road.ledger.finish(
            connection,
            self.delivery,
            State.COMPLETED if clean else State.COMPLETED_WITH_REJECTS,
            pool_id=pool_id,
            log_key=self._log_key(),
            timings=json.dumps(self.watch.seconds()),
            **dataclasses.asdict(counts),
        )

    def _header(self, plan: Plan, judged: Judged, counts: Counts) -> dict[str, Any]:
        return {
            **poollog.delivery_header(self.delivery),
            "campaign": plan.campaign.code,
            "text": dataclasses.asdict(judged.origin.facts),
            "mapping": judged.mapped.columns,
            "mapping_version": plan.source.mapping_version,
            "ignored_columns": judged.mapped.ignored,
            "trimmed_cells": judged.mapped.trimmed,
            "schema_version": plan.schema.version,
            "organisation_version": plan.organisation_version,
            "stage_seconds": self.watch.seconds(),
            "counts": dataclasses.asdict(counts),
        }

    def _log_key(self) -> str:
        return f"{self.delivery.id}/{self.delivery.epoch}"

    def _log_folder(self) -> Path:
        return self.road.logs / self._log_key()

    @contextmanager
    def _fence(self) -> Iterator[None]:
        """A worker that comes back late meets the pool of the one that took over before it meets the ledger's fence."""
        try:
            yield
        except IntegrityError as problem:
            known = self.road.ledger.get(self.delivery.id)
            if known is None or known.epoch == self.delivery.epoch:
                raise
            raise Fenced(f"delivery {known.id} was taken over; epoch {self.delivery.epoch} is past") from problem

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self.onlooker(name)
        if self.watch.total > NOTE_AFTER_SECONDS:
            self.road.ledger.note(self.delivery, stage=name)
        with self.watch.stage(name):
            yield


def _campaign_code(source: Source, folder: str) -> str:
    """The folder names the campaign, when the source may use it; without a folder it is the source's own."""
    if not folder:
        return source.campaign
    allowed = {code.casefold(): code for code in (source.campaign, *source.campaigns)}
    code = allowed.get(folder.casefold())
    if code is None:
        raise Rejected(
            "campaign_not_allowed",
            f"the folder {folder!r} names no campaign that this source may load into",
            suggestion=f"use one of the folders {', '.join(sorted(allowed.values()))}, or none",
        )
    return code


def _policy(plan: Plan) -> ownership.Policy:
    default = plan.owners.by_name[plan.source.default_owner] if plan.source.default_owner else None
    return ownership.Policy(default=default, unknown_to_default=plan.source.unknown_code == "default_owner")


def _check_limits(source: Source, judged: Judged, screened: Screened) -> None:
    """Refuses the whole delivery when more records are rejected than the source allows."""
    refused = len(judged.rejected) + screened.settled.filter(pl.col("outcome") == Outcome.REJECTED).height
    total, limits = judged.origin.records.height, source.limits
    most = limits.max_rejected_rows
    if most is not None and refused > most:
        raise Rejected("too_many_rejects", f"{refused} of {total} records are rejected; this source allows {most}")
    share = limits.max_rejected_share
    if share is not None and refused > share * total:
        raise Rejected("too_many_rejects", f"{refused} of {total} records are rejected; this source allows {share:.0%}")


def _ended(new: pl.DataFrame, screened: Screened) -> pl.DataFrame:
    """`row`, `outcome`, `lead_id` of every record that was screened."""
    lead = pl.col("id").cast(pl.Int64).alias("lead_id")
    inserted = new.select("row", pl.lit(str(Outcome.INSERTED)).alias("outcome"), lead)
    updated = screened.updates.select("row", pl.lit(str(Outcome.UPDATED)).alias("outcome"), lead)
    return pl.concat([inserted, updated, screened.settled])


def _changes(updates: pl.DataFrame) -> pl.DataFrame:
    kept = {"row", "owner_id", "phone", "status", "invalid_phone", "ownership_code"}
    return updates.select(name for name in updates.columns if name not in kept)


def _rows_for_log(rows: pl.DataFrame, judged: Judged, plan: Plan) -> pl.DataFrame:
    """The outcomes with what was read and resolved of every record; records that were never read stay empty."""
    names = {owner.id: owner.name for owner in plan.owners.by_name.values()}
    kinds = {owner.id: owner.kind for owner in plan.owners.by_name.values()}
    owner = pl.col("owner_id")
    code = pl.col("ownership_code") if "ownership_code" in judged.frame.columns else pl.lit(None, dtype=pl.String)
    read = judged.frame.select(
        "row",
        owner.replace_strict(names, default=None, return_dtype=pl.String).alias("owner"),
        owner.replace_strict(kinds, default=None, return_dtype=pl.String).alias("owner_kind"),
        code.alias("ownership_code"),
        judged.mapped.frame["phone"].alias("phone_as_read"),
        "phone",
    )
    if read.height == rows.height:
        return rows.hstack(read.drop("row"))
    return rows.join(read, on="row", how="left", validate="1:1", maintain_order="left")


def _pool_state(counts: Counts) -> PoolState:
    """A file none of whose records became or touched a lead is a failed upload for whoever looks at the pools."""
    useful = counts.inserted + counts.updated + counts.unchanged
    return PoolState.ACTIVE if useful else PoolState.UPLOAD_FAILED
