"""Judging: what holds for a delivery, and what becomes of its records before anything is written.

The same for a delivery on its road and for a rehearsal, so that both say the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from sqlalchemy import Engine

from ingestd import control_total, schemas
from ingestd.errors import Rejected, Unconfirmed
from ingestd.ingest import load, mapping, ownership, poollog, problems, reading, screening, validation
from ingestd.ingest.reading import Sheet
from ingestd.ingest.screening import Screened
from ingestd.ingest.stopwatch import Stopwatch
from ingestd.model import CampaignRules, Completeness, Delivery, Owners
from ingestd.schemas import Schema
from ingestd.settings import Source
from ingestd.store import engine as store
from ingestd.store import mappings, orders, organisation, rules
from ingestd.store.same_content import same_content

Onlooker = Callable[[str], None]
"""Is told the name of each stage as it begins."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What the store says about the delivery's source and campaign when the road begins."""

    source: Source
    campaign: CampaignRules
    schema: Schema
    mapping_version: int | None
    """the number of the source's saved mapping"""
    asks: bool
    """True when columns that match no field are to be confirmed before they are ignored"""
    owners: Owners
    statuses: Mapping[str, int]
    organisation_version: int
    same_content_as: int | None
    """An earlier delivery with the same bytes, under whatever name."""


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


@dataclasses.dataclass(kw_only=True)
class Judge:
    """One look at one delivery, which may prove on the way that it is whole."""

    engine: Engine
    schemas: Path
    delivery: Delivery
    onlooker: Onlooker = lambda _stage: None
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    proof: dict[str, str] = dataclasses.field(default_factory=dict)
    """What the file itself has shown about its completeness; empty when it has shown nothing"""

    def plan(self) -> Plan:
        """What holds for the delivery now; raises Rejected when it cannot be loaded, whatever is in it."""
        with store.reading(self.engine) as connection:
            source = orders.source(connection, self.delivery)
            if source is None:
                raise Rejected("source_unknown", f"the source {self.delivery.source!r} is not active any more")
            same_content_as = same_content(connection, self.delivery)
            if same_content_as is not None and source.same_content == "refuse":
                raise _same_content(same_content_as)
            code = campaign_code(source, self.delivery.folder)
            campaign = rules.campaign(connection, code)
            return Plan(
                source=source,
                campaign=campaign,
                schema=schemas.read(self.schemas, campaign.template),
                mapping_version=mappings.latest(connection, source.name),
                asks=source.on_unmapped == "ask" and self.delivery.confirmed_at is None,
                owners=rules.owners(connection),
                statuses=rules.statuses(connection),
                organisation_version=organisation.version(connection, "organisation"),
                same_content_as=same_content_as,
            )

    def judge(self, plan: Plan, received: Callable[[], bytes]) -> Judged:
        """Everything that is known of the records by themselves; writes nothing. Raises Rejected and Unconfirmed."""
        with self.stage("read"):
            sheet = reading.read(received(), name=self.delivery.name, hints=plan.source.hints())
            self._count(sheet)
        with self.stage("map"):
            if plan.asks and (strange := mapping.unmatched(sheet.header, plan.schema, plan.source.mapping)):
                raise Unconfirmed(strange)
            mapped = mapping.apply(sheet, plan.schema, plan.source.mapping)
            origin, unreadable = poollog.Origin.of(sheet), sheet.problems
            del sheet
        with self.stage("validate"):
            checked = validation.check(mapped.frame, mapped.columns, self._rules(plan))
            mapped = dataclasses.replace(mapped, frame=mapped.frame.select("row", "phone"))
        with self.stage("resolve"):
            return self._resolve(plan, origin, mapped, checked, unreadable)

    def _rules(self, plan: Plan) -> validation.Rules:
        return validation.Rules(
            schema=plan.schema,
            region=plan.campaign.region,
            timezone=plan.campaign.timezone,
            dates=plan.source.dates,
            today=self.delivery.received_at.date(),
            invalid_phone_closes=plan.campaign.on_invalid_phone == "close",
        )

    def _count(self, sheet: Sheet) -> None:
        """A file whose control totals are right is proven whole; raises Rejected when one is not."""
        said = {f"{self.delivery.name}.count": self.delivery.expected_records, "its last line": sheet.facts.announced}
        for where, records in said.items():
            if records is not None:
                control_total.check(self.delivery.name, sheet.filled, records, where)
                evidence = f"{self.delivery.evidence}; {records:,} records, as {where} says"
                self.proof = {"completeness": Completeness.PROVEN, "evidence": evidence}
                self.delivery = dataclasses.replace(self.delivery, completeness=Completeness.PROVEN, evidence=evidence)

    def _resolve(
        self,
        plan: Plan,
        origin: poollog.Origin,
        mapped: mapping.Mapped,
        checked: validation.Checked,
        unreadable: pl.DataFrame,
    ) -> Judged:
        policy = ownership.policy(plan.source, plan.owners)
        named = ownership.of_file(plan.source, self.delivery, plan.owners, policy)
        column = mapped.columns.get("ownership_code", "")
        owned, unowned = ownership.resolve(checked.frame, column, plan.owners, policy, named)
        found = problems.gather([unreadable, checked.problems, unowned])
        extra = [field.name for field in plan.schema.extra if field.name in owned.columns]
        rejected = poollog.rejected_rows(found)
        return Judged(
            origin=origin, mapped=mapped, frame=load.pack_extra(owned, extra), problems=found, rejected=rejected
        )

    def screen(self, plan: Plan, judged: Judged, *, beside: Engine | None = None) -> Screened:
        """What the campaign and the do-not-call lists make of the records that passed; writes nothing.

        `beside` gives a second connection for many records; for who has few connections for many, none.
        """
        with store.reading(self.engine) as connection:
            phone = judged.mapped.columns["phone"]
            return screening.screen(connection, judged.passed, plan.campaign, phone, beside=beside)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Says that a room is entered, and measures how long it takes."""
        self.onlooker(name)
        with self.watch.stage(name):
            yield


def campaign_code(source: Source, folder: str) -> str:
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


def _same_content(delivery_id: int) -> Rejected:
    return Rejected(
        "same_content",
        f"the file has the same bytes as delivery {delivery_id}, which came under another name",
        suggestion="send every list once; ask the operator if the same bytes are to be loaded again",
    )
