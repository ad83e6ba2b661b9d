"""Screening: numbers nobody may call, and records that are there already, in the file or in the campaign.

The campaign's rules decide (LEADS.md): a listed number is rejected or loaded as closed; a duplicate is rejected,
updates the lead that is there, or is kept as a second lead. An update never changes owner, status or history of a
lead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection

from ingestd.ingest import problems
from ingestd.model import CampaignRules, Outcome, Severity, Stage
from ingestd.store import loading

UNPROCESSED, INVALID_PHONE = "unprocessed", "invalid_phone_number"
LISTED, LISTED_GLOBALLY = "in_do_not_call_list", "in_global_do_not_call_list"

_NEVER_UPDATED = {"row", "owner_id", "phone", "status", "invalid_phone", "ownership_code"}


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What will happen to the records that came this far; every one of them is in exactly one frame."""

    new: pl.DataFrame
    """The records to insert, with their `status` code."""
    updates: pl.DataFrame
    """`row`, `id` of the lead, and the new values of its columns."""
    settled: pl.DataFrame
    """`row`, `outcome`, `lead_id` of the records that load nothing: unchanged, duplicate, rejected."""
    problems: pl.DataFrame
    fence: loading.Fence


def screen(connection: Connection, frame: pl.DataFrame, campaign: CampaignRules, column: str) -> Screened:
    """Decides over records that passed every check; `column` is the header of the phone, for the messages."""
    seen = loading.fence(connection, campaign.id)
    marked, refused, found = _do_not_call(connection, frame, campaign, column)
    settled = [_settled(refused, Outcome.REJECTED)]
    updates = marked.clear().with_columns(pl.lit(0, dtype=pl.Int64).alias("id"))
    new = marked
    if campaign.on_duplicate != "keep":
        new, repeated, told = _repeated_in_file(marked, column)
        settled.append(_settled(repeated, Outcome.DUPLICATE))
        found = [*found, told]
        there = _there(connection, new, campaign)
        known = _known(new, there)
        if not known.is_empty():  # a join copies every column of every record
            new = new.join(there, on="phone", how="anti", maintain_order="left")
        if campaign.on_duplicate == "update":
            updates, unchanged = _compare(known)
            settled.append(_settled(unchanged, Outcome.UNCHANGED))
        elif not known.is_empty():
            settled.append(_settled(known, Outcome.DUPLICATE))
            found = [*found, _already_there(known, campaign, column)]
    decided = pl.concat(settled)
    assert new.height + updates.height + decided.height == frame.height
    return Screened(new=new, updates=updates, settled=decided, problems=problems.gather(found), fence=seen)


def _do_not_call(
    connection: Connection, frame: pl.DataFrame, campaign: CampaignRules, column: str
) -> tuple[pl.DataFrame, pl.DataFrame, list[pl.DataFrame]]:
    """The records with their status, those that a list refuses, and what the log says of both."""
    start = pl.when("invalid_phone").then(pl.lit(INVALID_PHONE)).otherwise(pl.lit(UNPROCESSED)).alias("status")
    frame = frame.with_columns(start)
    listed = loading.listed(connection, campaign.id, frame["phone"])
    if listed.is_empty():
        return frame, frame.clear(), []
    joined = frame.join(listed, on="phone", how="left", validate="m:1", maintain_order="left")
    hits = joined.drop_nulls("global_list")
    closes = campaign.on_do_not_call == "close"
    told = problems.found(
        hits,
        stage=Stage.DO_NOT_CALL,
        code="do_not_call",
        severity=Severity.WARNING if closes else Severity.ERROR,
        column=column,
        field="phone",
        value=pl.col("phone"),
        message=pl.when("global_list")
        .then(pl.lit("the number is on the global do-not-call list"))
        .otherwise(pl.lit(f"the number is on the do-not-call list of {campaign.code}")),
        suggestion="loaded as a closed lead; nobody will call it" if closes else "do not send this number again",
    )
    if not closes:
        return joined.filter(pl.col("global_list").is_null()).drop("global_list"), hits.drop("global_list"), [told]
    status = pl.when("global_list").then(pl.lit(LISTED_GLOBALLY)).otherwise(pl.lit(LISTED))
    closed = pl.when(pl.col("global_list").is_null()).then("status").otherwise(status).alias("status")
    return joined.with_columns(closed).drop("global_list"), frame.clear(), [told]


def _repeated_in_file(frame: pl.DataFrame, column: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Only the first record of a number goes on."""
    first = frame["phone"].is_first_distinct()
    if first.all():
        return frame, frame.clear(), problems.empty()
    kept, repeated = frame.filter(first), frame.filter(~first)
    originals = kept.select("phone", pl.col("row").alias("first_row"))
    told = problems.found(
        repeated.join(originals, on="phone", validate="m:1", maintain_order="left"),
        stage=Stage.DUPLICATE,
        code="duplicate_in_file",
        column=column,
        field="phone",
        value=pl.col("phone"),
        message=pl.format("the same number as row {} of this file", pl.col("first_row")),
        suggestion="nothing to do, unless the two are different people",
    )
    return kept, repeated, told


def _there(connection: Connection, frame: pl.DataFrame, campaign: CampaignRules) -> pl.DataFrame:
    """The leads of the campaign that have the numbers of these records, with the columns that an update compares."""
    columns = tuple(name for name in frame.columns if name not in _NEVER_UPDATED)
    return loading.existing(
        connection, campaign.id, frame["phone"], columns if campaign.on_duplicate == "update" else ()
    )


def _known(frame: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    return frame.join(there, on="phone", how="inner", suffix="_there", validate="1:1", maintain_order="left")


def _already_there(known: pl.DataFrame, campaign: CampaignRules, column: str) -> pl.DataFrame:
    return problems.found(
        known,
        stage=Stage.DUPLICATE,
        code="duplicate_in_campaign",
        column=column,
        field="phone",
        value=pl.col("phone"),
        message=pl.format(f"the campaign {campaign.code} has this number already, as lead {{}}", pl.col("id")),
        suggestion="nothing to do: the lead is there",
    )


def _compare(known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records that say something new about their lead, and those that do not. An empty cell says nothing."""
    columns = [name for name in known.columns if f"{name}_there" in known.columns]
    if "extra" in columns:
        known = known.with_columns(_merged_extra(known))
    values = known.with_columns(pl.coalesce(name, f"{name}_there").alias(name) for name in columns)
    differs = pl.any_horizontal(
        pl.lit(value=False), *(pl.col(name).ne_missing(pl.col(f"{name}_there")) for name in columns)
    )
    changed = values.filter(differs).drop(f"{name}_there" for name in columns)
    return changed, values.filter(~differs)


def _merged_extra(known: pl.DataFrame) -> pl.Series:
    pairs = zip(known["extra"], known["extra_there"], strict=True)
    return pl.Series("extra", [_merge(mine, there) for mine, there in pairs], dtype=pl.String)


def _merge(mine: str | None, there: str | None) -> str | None:
    if mine is None or there is None:
        return mine
    old: dict[str, Any] = json.loads(there)
    merged = old | {name: value for name, value in json.loads(mine).items() if value is not None}
    return there if merged == old else json.dumps(merged, ensure_ascii=False, separators=(",", ":"))


def _settled(frame: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    lead = pl.col("id").cast(pl.Int64) if "id" in frame.columns else pl.lit(None, dtype=pl.Int64)
    return frame.select("row", pl.lit(str(outcome)).alias("outcome"), lead.alias("lead_id"))
