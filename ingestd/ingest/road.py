"""The road of a delivery, from durable bytes to an active lead pool with its log. One room a line, top to bottom."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from ingestd.errors import Damaged, Misconfigured, Rejected, Unavailable, Unconfirmed
from ingestd.ingest import fates, load, poollog, problems, updates
from ingestd.ingest.judging import Judge, Judged, Onlooker, Plan
from ingestd.ingest.screening import Screened
from ingestd.ingest.updates import Bringing, Close
from ingestd.model import Counts, PoolState, State
from ingestd.spool import Spool
from ingestd.storage import Storage
from ingestd.store import engine as store
from ingestd.store import erasures, fences, loading, pools
from ingestd.store.ledger import Fenced, Ledger, reasons

log = structlog.get_logger()

OURS = {"original_missing", "original_damaged"}
"""The refusals that are not the partner's: we have lost the file, or what we kept is not what came."""

NOTE_AFTER_SECONDS = 0.5
"""A delivery that takes longer says in the ledger where it is; for a small one that would be most of the work."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Road:
    """What the road needs of the house."""

    engine: Engine
    ledger: Ledger
    spool: Spool
    logs: Storage
    schemas: Path
    close: Close
    """what ends leads whose number is listed by now"""
    max_attempts: int = 5

    def travel(self, delivery_id: int, onlooker: Onlooker | None = None) -> None:
        """Brings a delivery to its end, if it has not ended yet; raises Unavailable to be tried again."""
        delivery = self.ledger.begin(delivery_id, max_attempts=self.max_attempts)
        if delivery is None:
            return
        seen = onlooker or (lambda _stage: None)
        trip = Trip(road=self, engine=self.engine, schemas=self.schemas, delivery=delivery, onlooker=seen)
        try:
            try:
                trip.go()
            except Rejected as refusal:
                trip.refuse(refusal)
        except Fenced:
            trip.remove_own_log()
            raise
        except (Unavailable, Misconfigured) as away:
            # Ours, not the file's: it waits until we are well again, however long that takes.
            self.ledger.postpone(delivery, str(away))
            raise Unavailable(str(away)) from away
        except Exception as problem:
            # Noted for the dead letter, then raised: a bug ends this worker and never passes in silence.
            self.ledger.note(delivery, error=f"{type(problem).__name__}: {problem}"[:2000])
            raise
        if delivery.epoch > 1:
            trip.remove_lost_logs()


@dataclasses.dataclass(kw_only=True)
class Trip(Judge):
    """One attempt at one delivery."""

    road: Road

    def go(self) -> None:
        """The table of contents of ingestd."""
        plan = self.plan()
        try:
            with self._held_against_their_hash() as received:
                judged = self.judge(plan, received)
        except Unconfirmed as question:
            self.ask(plan, question)
            return
        loaded = False
        while not loaded:  # once, unless another load into the campaign came between screening and loading
            with self.stage("screen"):
                screened = self.screen(plan, judged, beside=self.engine)
            too_many = fates.over_limit(plan.source.limits, judged.origin.records.height, judged.rejected, screened)
            with self.stage("load"), self._fence():
                if too_many is None:
                    loaded = self._load(plan, judged, screened)
                else:
                    loaded = self._roll_back(plan, judged, screened, too_many)

    def refuse(self, why: Rejected) -> None:
        """Ends the delivery without loading anything, with a log that says why."""
        state = State.FAILED if why.code in OURS else State.REFUSED
        header = {**poollog.delivery_header(self.delivery), "state": state, "refused": _told(why)}
        poollog.write_refusal(self.road.logs, self._log_key(), header=header)
        self.road.ledger.refuse(self.delivery, why, log_key=self._log_key(), state=state)

    def remove_lost_logs(self) -> None:
        """Takes away what earlier attempts wrote that ended in no commit: it names people, and nobody would find it.

        What the delivery named when this attempt began stays: it may be one that was refused, whose log is being read.
        """
        with self._removing():
            known = (self.delivery.log_key, self._log_key())
            poollog.remove(self.road.logs, f"{self.delivery.id}", lambda key: key not in known)

    def remove_own_log(self) -> None:
        """The same for this attempt, when another worker has taken over."""
        with self._removing():
            known = self.road.ledger.get(self.delivery.id)
            if known is not None and known.epoch > self.delivery.epoch:
                poollog.remove(self.road.logs, self._log_key(), lambda key: key != known.log_key)

    @contextmanager
    def _removing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, Unavailable) as problem:
            log.warning("log_not_removed", delivery=self.delivery.id, epoch=self.delivery.epoch, error=str(problem))

    def ask(self, plan: Plan, question: Unconfirmed) -> None:
        """Holds the delivery until somebody has confirmed that its strange columns are ignored, or mapped them."""
        why = Rejected(
            "columns_unmapped",
            f"{question}; this source wants to be asked before they are ignored",
            suggestion="confirm the delivery, with a mapping of them or without",
        )
        header = {**poollog.delivery_header(self.delivery), "state": State.AWAITING_CONFIRMATION, "refused": _told(why)}
        asked = {**header, "unmatched_columns": question.columns}
        poollog.write_refusal(self.road.logs, self._log_key(), header=asked)
        with self._fence(), store.writing(self.road.engine) as connection:
            pool_id = pools.create(connection, self.delivery, plan.campaign.id, PoolState.AWAITING_CONFIRMATION)
            self._finish(connection, State.AWAITING_CONFIRMATION, pool_id, Counts(), **reasons(why))

    @contextmanager
    def _held_against_their_hash(self) -> Iterator[Callable[[], bytes]]:
        """Gives the received bytes, and hashes them beside what is done with them.

        Whatever was found wrong in other bytes than came is not the partner's, and is not told as theirs.
        """
        with ThreadPoolExecutor(1, "hash") as other:
            hashes: list[Future[str]] = []

            def received() -> bytes:
                content = self._bytes()
                hashes.append(other.submit(lambda: hashlib.sha256(content).hexdigest()))
                return content

            try:
                yield received
            finally:
                if any(each.result() != self._sha256() for each in hashes):
                    self._bytes(self._sha256())
                    raise Unavailable("the received file was changed on its way from the storage, which is tried again")

    def _bytes(self, sha256: str = "") -> bytes:
        try:
            return self.road.spool.read(self.delivery.spool_key, sha256)
        except FileNotFoundError as problem:
            raise Rejected("original_missing", "the received file is not in the spool any more") from problem
        except Damaged as problem:
            told = f"the received file was damaged in the spool: it has not the sha256 {sha256} any more"
            wanted = "send it again, or have the operator restore it from a backup"
            raise Rejected("original_damaged", told, suggestion=wanted) from problem
        except OSError as problem:
            raise Unavailable(f"the received file cannot be read: {problem}") from problem

    def _sha256(self) -> str:
        """Of the kept file: another one than came when somebody was anonymised after an earlier attempt."""
        if not self.delivery.log_key:
            return self.delivery.sha256
        with store.reading(self.road.engine) as connection:
            return erasures.kept(connection, self.delivery).sha256

    def _load(self, plan: Plan, judged: Judged, screened: Screened) -> bool:
        """True when everything is committed; False when the screening was overtaken and must be done again."""
        engine, coming = self.road.engine, screened.new.height
        with fences.begun(engine, screened.fence, coming) as its_connection, ThreadPoolExecutor(1) as other:
            new = load.number(screened.new, loading.reserve_numbers(engine, coming))
            rows = poollog.outcomes(judged.origin, fates.ended(new, screened), judged.rejected)
            counts = poollog.count(rows)
            found = problems.gather([judged.problems, screened.problems])
            connection = its_connection()
            if connection is None:
                return False
            # The log is written beside the load, and is durable before the commit that refers to it.
            written = other.submit(self._write_log, plan, judged, rows, found, self._header(plan, judged, counts))
            pool_id = self._store(connection, plan, new, screened.updates, counts)
            written.result()
            self.road.ledger.receipt(connection, self.delivery)
            self._finish(connection, fates.state(counts), pool_id, counts, mapping_version=plan.mapping_version)
        return True

    def _roll_back(self, plan: Plan, judged: Judged, screened: Screened, why: Rejected) -> bool:
        """Loads nothing, and leaves a failed upload whose log says the fate of every record all the same."""
        ended = fates.not_loaded(screened)
        rows = poollog.outcomes(judged.origin, ended, judged.rejected)
        counts = poollog.count(rows)
        found = problems.gather([judged.problems, screened.problems, fates.left_out(ended, why)])
        header = {**self._header(plan, judged, counts), "state": State.REFUSED, "refused": _told(why)}
        self._write_log(plan, judged, rows, found, header)
        with store.writing(self.road.engine) as connection:
            pool_id = pools.create(connection, self.delivery, plan.campaign.id, PoolState.UPLOAD_FAILED)
            known = {**reasons(why), "mapping_version": plan.mapping_version}
            self._finish(connection, State.REFUSED, pool_id, counts, **known)
        return True

    def _write_log(
        self, plan: Plan, judged: Judged, rows: pl.DataFrame, found: pl.DataFrame, header: dict[str, Any]
    ) -> None:
        told = fates.told(rows, judged.frame, judged.mapped.frame["phone"], plan.owners)
        logs, key = self.road.logs, self._log_key()
        poollog.write(logs, key, header=header, origin=judged.origin, rows=told, found=found)

    def _store(
        self, connection: Connection, plan: Plan, new: pl.DataFrame, changed: pl.DataFrame, counts: Counts
    ) -> int:
        pool_id = pools.create(connection, self.delivery, plan.campaign.id, fates.pool_state(counts))
        target = load.Target(campaign_id=plan.campaign.id, pool_id=pool_id, statuses=plan.statuses)
        if not new.is_empty():
            loading.insert_leads(connection, load.lead_frame(new, target))
        if not changed.is_empty():
            updates.write(connection, changed, self._bringing(plan))
        return pool_id

    def _bringing(self, plan: Plan) -> Bringing:
        return Bringing(
            campaign_id=plan.campaign.id,
            schema=plan.schema,
            at=self.road.ledger.clock(),
            why=updates.brought_by(self.delivery.id),
            close=self.road.close,
        )

    def _finish(self, connection: Connection, state: State, pool_id: int, counts: Counts, **facts: Any) -> None:
        timings = json.dumps(self.watch.seconds())
        where = {"pool_id": pool_id, "log_key": self._log_key(), "timings": timings}
        known = {**where, **self.proof, **dataclasses.asdict(counts), **facts}
        self.road.ledger.finish(connection, self.delivery, state, **known)

    def _header(self, plan: Plan, judged: Judged, counts: Counts) -> dict[str, Any]:
        return {
            **poollog.delivery_header(self.delivery),
            "same_content_as": plan.same_content_as,
            "campaign": plan.campaign.code,
            "text": dataclasses.asdict(judged.origin.facts),
            "mapping": judged.mapped.columns,
            "mapping_version": plan.source.mapping_version,
            "default_owner": plan.source.default_owner,
            "mapping_number": plan.mapping_version,
            "ignored_columns": judged.mapped.ignored,
            "trimmed_cells": judged.mapped.trimmed,
            "schema_version": plan.schema.version,
            "organisation_version": plan.organisation_version,
            "stage_seconds": self.watch.seconds(),
            "counts": dataclasses.asdict(counts),
        }

    def _log_key(self) -> str:
        return f"{self.delivery.id}/{self.delivery.epoch}"

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
    def stage(self, name: str) -> Iterator[None]:
        """Also says in the ledger where a large delivery is."""
        if self.watch.total > NOTE_AFTER_SECONDS:
            self.road.ledger.note(self.delivery, stage=name)
        with super().stage(name):
            yield


def _told(why: Rejected) -> dict[str, Any]:
    """A refusal for the log's header."""
    return {"code": why.code, "message": why.message, "suggestion": why.suggestion, "line": why.line}
