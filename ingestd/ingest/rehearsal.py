"""Rehearsal: what would become of a file, said by the road itself, which loads nothing and writes nothing.

The file is read, mapped, checked, given its owners and screened as a delivery is, to its last record. Only numbers of
leads, log and pool are not made. So an import of the same file ends as its rehearsal says, unless something was loaded,
listed or changed in between.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ingestd.errors import Rejected, Unconfirmed
from ingestd.ingest import fates, load, mapping, poollog, problems
from ingestd.ingest.judging import Judge, Judged, Plan
from ingestd.model import Arrival, Counts, Delivery, Owners, State

AFTER_ALL = 2**62
"""The number of a delivery that is not there yet: every one that is there came before it."""
EXAMPLES = 3
"""problems of each kind that are shown"""
MOST_ROWS = 50
"""records that are shown with their values"""

_NONE = Counts()
_NOT_SHOWN = ("row", "owner_id", "status", "invalid_phone", "extra")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One problem of its kind."""

    row: int
    value: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The problems of one kind in one column."""

    code: str
    stage: str
    severity: str
    column: str
    field: str
    count: int
    suggestion: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of the new leads an owner would get."""

    kind: str
    owner: str
    ownership_code: str | None
    leads: int


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One problem of one record."""

    code: str
    severity: str
    column: str
    field: str
    value: str
    message: str
    suggestion: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record as it would be loaded."""

    row: int
    outcome: str
    owner: str | None
    """`team:<key>` or `user:<login>`"""
    values: Mapping[str, Any]
    """field → value, as the lead would have it; empty for a record that cannot be read"""
    problems: tuple[Fault, ...]


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What would become of a file."""

    state: State
    """how the delivery would end"""
    refused: Mapping[str, str] | None = None
    """why nothing of it would be loaded: `code`, `message`, `suggestion`"""
    duplicate_of: int | None = None
    """the delivery that it would be a duplicate of, and then nothing else is said"""
    campaign: str = ""
    text: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """how the file is read: encoding, delimiter …"""
    mapping_version: int | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """field → header"""
    ignored_columns: tuple[str, ...] = ()
    unmatched_columns: tuple[str, ...] = ()
    """those that match no field, and of which no mapping says that they are ignored"""
    counts: Counts = _NONE
    problems: tuple[Group, ...] = ()
    owners: tuple[Share, ...] = ()
    duplicates_in_file: int = 0
    duplicates_in_campaign: int = 0
    do_not_call: int = 0
    rows: tuple[Row, ...] = ()
    """the first records, as many as were asked for, by themselves: also when the file as a whole is refused"""


def provisional(arrival: Arrival, moment: datetime) -> Delivery:
    """The delivery that a file would be which came now."""
    facts = {"state": State.RUNNING, "epoch": 0, "attempts": 0, "spool_key": "", "size": 0, "sha256": ""}
    said = {each.name: getattr(arrival, each.name) for each in dataclasses.fields(Arrival)}
    return Delivery(id=AFTER_ALL, received_at=moment, **said, **facts)  # type: ignore[arg-type]


def rehearse(judge: Judge, received: Callable[[], bytes], *, rows: int = 0) -> Rehearsal:
    """Says what would become of a delivery with these bytes; raises Unavailable and Misconfigured, never Rejected."""
    try:
        plan = judge.plan()
    except Rejected as refusal:
        return Rehearsal(state=State.REFUSED, refused=_told(refusal))
    told: dict[str, Any] = {"campaign": plan.campaign.code, "mapping_version": plan.mapping_version}
    strange: tuple[str, ...] = ()
    try:
        try:
            judged = judge.judge(plan, received)
        except Unconfirmed as question:
            strange = question.columns
            judged = judge.judge(dataclasses.replace(plan, asks=False), received)
    except Rejected as refusal:
        state = State.AWAITING_CONFIRMATION if strange else State.REFUSED
        return Rehearsal(state=state, refused=_told(refusal), unmatched_columns=strange, **told)
    rehearsed = _screened(judge, plan, judged, rows)
    return dataclasses.replace(rehearsed, state=State.AWAITING_CONFIRMATION) if strange else rehearsed


def duplicate(number: int) -> Rehearsal:
    """Of a file that came before under this name, and would not be loaded again."""
    return Rehearsal(state=State.DUPLICATE, duplicate_of=number)


def as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """For programs."""
    return dataclasses.asdict(rehearsal)


def _screened(judge: Judge, plan: Plan, judged: Judged, shown: int) -> Rehearsal:
    screened = judge.screen(plan, judged)
    refusal = fates.over_limit(plan.source.limits, judged.origin.records.height, judged.rejected, screened)
    outcomes = _outcomes(judged, fates.ended(load.number(screened.new, 1), screened))
    counts = poollog.count(_outcomes(judged, fates.not_loaded(screened)) if refusal else outcomes)
    found = problems.gather([judged.problems, screened.problems])
    having = dict(found["code"].value_counts().iter_rows())
    return Rehearsal(
        state=State.REFUSED if refusal else fates.state(counts),
        refused=_told(refusal) if refusal else None,
        campaign=plan.campaign.code,
        text=dataclasses.asdict(judged.origin.facts),
        mapping_version=plan.mapping_version,
        columns=judged.mapped.columns,
        ignored_columns=judged.mapped.ignored,
        unmatched_columns=mapping.unmatched(judged.mapped.ignored, plan.schema, plan.source.mapping),
        counts=counts,
        problems=_grouped(found),
        owners=() if refusal else _shares(screened.new["owner_id"], plan.owners),
        duplicates_in_file=having.get("duplicate_in_file", 0),
        duplicates_in_campaign=having.get("duplicate_in_campaign", 0),
        do_not_call=having.get("do_not_call", 0),
        rows=_rows(judged, outcomes.head(shown), found, plan.owners),
    )


def _outcomes(judged: Judged, ended: pl.DataFrame) -> pl.DataFrame:
    return poollog.outcomes(judged.origin, ended, judged.rejected)


def _told(why: Rejected) -> dict[str, str]:
    return {"code": why.code, "message": why.message, "suggestion": why.suggestion}


def _grouped(found: pl.DataFrame) -> tuple[Group, ...]:
    """Problems by what they are and the column they are in, the most frequent first."""
    if found.is_empty():
        return ()
    some = pl.struct("row", "value", "message").head(EXAMPLES).alias("examples")
    return tuple(
        Group(**{**group, "examples": tuple(Example(**each) for each in group["examples"])})
        for group in problems.by_kind(found, some, more=["field"]).iter_rows(named=True)
    )


def _shares(owned: pl.Series, owners: Owners) -> tuple[Share, ...]:
    """The owners of the new leads, the one with most first."""
    by_id = {owner.id: owner for owner in owners.by_name.values()}
    counted = sorted(owned.value_counts().iter_rows(), key=lambda pair: (-pair[1], by_id[pair[0]].name))
    return tuple(
        Share(kind=by_id[number].kind, owner=by_id[number].name, ownership_code=by_id[number].code, leads=count)
        for number, count in counted
    )


def _rows(judged: Judged, outcomes: pl.DataFrame, found: pl.DataFrame, owners: Owners) -> tuple[Row, ...]:
    """The first records with their values; one that could not be read has none."""
    wanted = outcomes["row"].implode()
    read = {each["row"]: each for each in judged.frame.filter(pl.col("row").is_in(wanted)).to_dicts()}
    faults: dict[int, list[Fault]] = {}
    for each in found.filter(pl.col("row").is_in(wanted)).drop("stage").to_dicts():
        faults.setdefault(each.pop("row"), []).append(Fault(**each))
    names = {owner.id: name for name, owner in owners.by_name.items()}
    return tuple(
        Row(
            row=number,
            outcome=outcome,
            owner=names.get(read[number]["owner_id"]) if number in read else None,
            values=_values(read.get(number, {})),
            problems=tuple(faults.get(number, ())),
        )
        for number, outcome in outcomes.select("row", "outcome").iter_rows()
    )


def _values(record: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in record.items() if name not in _NOT_SHOWN}
    extra = json.loads(record["extra"]) if record.get("extra") else {}
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in (values | extra).items()
    }
