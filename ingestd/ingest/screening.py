"""Screening: numbers nobody may call, and records that are there already, in the file or in the campaign.

The campaign's rules decide (LEADS.md): a listed number is rejected or loaded as closed; a duplicate is rejected,
updates the lead that is there, or is kept as a second lead. An update never changes owner, status or history of a
lead.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, Engine

from ingestd.ingest import comparing, problems
from ingestd.model import CampaignRules, Outcome, Severity, Stage
from ingestd.store import fences, loading, rules

UNPROCESSED, INVALID_PHONE = "unprocessed", "invalid_phone_number"
LISTED, LISTED_GLOBALLY = "in_do_not_call_list", "in_global_do_not_call_list"

_NEVER_UPDATED = {"row", "owner_id", "phone", "status", "invalid_phone", "ownership_code"}
"""An update leaves owner and number alone; the status of a lead changes only when its number is listed."""


_SETTLED = pl.Schema({"row": pl.UInt32, "outcome": pl.String, "lead_id": pl.Int64})


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What will happen to the records that came this far; every one of them is in exactly one frame."""

    new: pl.DataFrame
    """The records to insert, with their `status` code."""
    updates: pl.DataFrame
    """`row`, `id` and `version` of the lead, the new values of its columns, and behind `_there` those it had."""
    settled: pl.DataFrame
    """`row`, `outcome`, `lead_id` of the records that load nothing: unchanged, duplicate, rejected."""
    problems: pl.DataFrame
    fence: fences.Fence


def screen(
    connection: Connection, frame: pl.DataFrame, campaign: CampaignRules, column: str, *, beside: Engine | None = None
) -> Screened:
    """Decides over records that passed every check; `column` is the header of the phone, for the messages.

    `beside` gives a second connection for a large file, where nothing was written yet.
    """
    seen = fences.seen(connection, campaign.id)
    # What is no number cannot be on a list or be the number of another lead.
    usable, unusable = frame, frame.clear()
    if frame["invalid_phone"].any():
        usable, unusable = frame.filter(~pl.col("invalid_phone")), frame.filter("invalid_phone")
    unusable = unusable.with_columns(pl.lit(INVALID_PHONE).alias("status"))
    marked, refused, found = _do_not_call(connection, usable, campaign, column)
    screened = _duplicates(connection, marked, campaign, column, beside)
    result = Screened(
        new=screened.new if unusable.is_empty() else pl.concat([screened.new, unusable]).sort("row"),
        updates=screened.updates,
        settled=pl.concat([_settled(refused, Outcome.REJECTED), screened.settled]),
        problems=problems.gather([*found, screened.problems]),
        fence=seen,
    )
    assert result.new.height + result.updates.height + result.settled.height == frame.height
    return result


@dataclass(frozen=True, kw_only=True)
class _Sorted:
    """Records by what the duplicate rule makes of them."""

    new: pl.DataFrame
    updates: pl.DataFrame
    settled: pl.DataFrame
    problems: pl.DataFrame


def _duplicates(
    connection: Connection, marked: pl.DataFrame, campaign: CampaignRules, column: str, beside: Engine | None
) -> _Sorted:
    none = marked.clear().with_columns(pl.lit(0, dtype=pl.Int64).alias("id"))
    nothing = _settled(none, Outcome.DUPLICATE)
    if campaign.on_duplicate == "keep":
        return _Sorted(new=marked, updates=none, settled=nothing, problems=problems.empty())
    new, repeated, told = _repeated_in_file(marked, column)
    settled, found, updates = [_settled(repeated, Outcome.DUPLICATE)], [told], none
    there = _there(connection, new, campaign, beside)
    if there.is_empty():
        return _Sorted(new=new, updates=none, settled=settled[0], problems=told)
    known = _known(new, there)
    if not known.is_empty():  # a join copies every column of every record
        new = new.join(known.select("phone"), on="phone", how="anti", maintain_order="left")
    if campaign.on_duplicate == "update":
        updates, unchanged = comparing.compare(_closing(connection, known))
        settled.append(_settled(unchanged, Outcome.UNCHANGED))
    elif not known.is_empty():
        settled.append(_settled(known, Outcome.DUPLICATE))
        found.append(_already_there(known, campaign, column))
    return _Sorted(new=new, updates=updates, settled=pl.concat(settled), problems=problems.gather(found))


def _closing(connection: Connection, known: pl.DataFrame) -> pl.DataFrame:
    """Adds `status_id`: the do-not-call status for an open lead whose number is listed, null for all others."""
    listed = known["status"].is_in([LISTED, LISTED_GLOBALLY])
    if not listed.any():
        return known.drop("status_id", strict=False)
    numbers = rules.statuses(connection)
    is_open = pl.col("status_id_there").is_in(list(rules.open_statuses(connection)))
    status = pl.col("status").replace_strict(numbers, return_dtype=pl.Int64)
    closed = pl.when(is_open & listed).then(status).alias("status_id")
    there = known.rename({"status_id": "status_id_there"})
    return there.with_columns(closed)


def _do_not_call(
    connection: Connection, frame: pl.DataFrame, campaign: CampaignRules, column: str
) -> tuple[pl.DataFrame, pl.DataFrame, list[pl.DataFrame]]:
    """The records with their status, those that a list refuses, and what the log says of both."""
    frame = frame.with_columns(pl.lit(UNPROCESSED).alias("status"))
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
        suggestion=_closed_how(campaign) if closes else "do not send this number again",
    )
    if not closes:
        return joined.filter(pl.col("global_list").is_null()).drop("global_list"), hits.drop("global_list"), [told]
    status = pl.when("global_list").then(pl.lit(LISTED_GLOBALLY)).otherwise(pl.lit(LISTED))
    closed = pl.when(pl.col("global_list").is_null()).then("status").otherwise(status).alias("status")
    return joined.with_columns(closed).drop("global_list"), frame.clear(), [told]


def _closed_how(campaign: CampaignRules) -> str:
    """What becomes of a listed number that is not rejected; a duplicate is told apart only later."""
    if campaign.on_duplicate == "reject":
        return "loaded as a closed lead, unless the campaign has the number already"
    return "the lead is closed; nobody will call it"


def _repeated_in_file(frame: pl.DataFrame, column: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Only the first record of a number goes on."""
    if frame["phone"].n_unique() == frame.height:  # a third of the time of telling which are the first
        return frame, frame.clear(), problems.empty()
    first = frame["phone"].is_first_distinct()
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


def _there(connection: Connection, frame: pl.DataFrame, campaign: CampaignRules, beside: Engine | None) -> pl.DataFrame:
    """The leads of the campaign that have the numbers of these records, with the columns that an update compares."""
    columns = tuple(name for name in frame.columns if name not in _NEVER_UPDATED)
    compared = ("version", "status_id", *columns) if campaign.on_duplicate == "update" else ()
    return loading.existing(connection, campaign.id, frame["phone"], compared, beside=beside)


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


def _settled(frame: pl.DataFrame, outcome: Outcome) -> pl.DataFrame:
    if frame.is_empty():
        return pl.DataFrame(schema=_SETTLED)
    lead = pl.col("id").cast(pl.Int64) if "id" in frame.columns else pl.lit(None, dtype=pl.Int64)
    return frame.select("row", pl.lit(str(outcome)).alias("outcome"), lead.alias("lead_id"))
