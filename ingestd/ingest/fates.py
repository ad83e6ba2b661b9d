"""Fates: how every record of a file ends, put together from what the rooms said of it."""

from __future__ import annotations

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.lookup import looked_up, repeated
from ingestd.ingest.screening import Screened
from ingestd.model import Counts, Outcome, Owners, PoolState, Severity, Stage, State
from ingestd.settings import SourceLimits

_LEAD = pl.col("id").cast(pl.Int64).alias("lead_id")
_NO_LEAD = pl.lit(None, dtype=pl.Int64).alias("lead_id")


def ended(new: pl.DataFrame, screened: Screened) -> pl.DataFrame:
    """`row`, `outcome`, `lead_id` of every record that was screened; `new` are the numbered new records."""
    inserted = new.select("row", _outcome(Outcome.INSERTED), _LEAD)
    return pl.concat([inserted, screened.updates.select("row", _outcome(Outcome.UPDATED), _LEAD), screened.settled])


def not_loaded(screened: Screened) -> pl.DataFrame:
    """The same when the whole file is refused: what would have been loaded or compared is left out."""
    loadable = [
        frame.select("row", _outcome(Outcome.DISCARDED), _NO_LEAD) for frame in (screened.new, screened.updates)
    ]
    return pl.concat([*loadable, screened.settled])


def left_out(ended: pl.DataFrame, why: Rejected) -> pl.DataFrame:
    """A word to every record that would have been loaded, had the file not been refused."""
    return problems.found(
        ended.filter(pl.col("outcome") == Outcome.DISCARDED),
        stage=Stage.RULE,
        code="not_loaded",
        severity=Severity.WARNING,
        message=f"left out, because the whole file was refused: {why.message}",
        suggestion=why.suggestion,
    )


def over_limit(limits: SourceLimits, total: int, rejected: pl.Series, screened: Screened) -> Rejected | None:
    """Why the whole delivery is refused, when more records are rejected than the source allows."""
    refused = len(rejected) + int((screened.settled["outcome"] == str(Outcome.REJECTED)).sum())
    most, share = limits.max_rejected_rows, limits.max_rejected_share
    allowed = []
    if most is not None and refused > most:
        allowed.append(f"{most}")
    if share is not None and refused > share * total:
        allowed.append(f"{share:.0%}")
    if not allowed:
        return None
    return Rejected(
        "too_many_rejects",
        f"{refused} of {total} records are rejected; this source allows {' and '.join(allowed)}",
        suggestion="mend the rejected records, or the mapping of this source, and send the file again",
    )


def told(rows: pl.DataFrame, frame: pl.DataFrame, phone_as_read: pl.Series, owners: Owners) -> pl.DataFrame:
    """The outcomes with what was read and resolved of every record; records that were never read stay empty."""
    names = {owner.id: owner.name for owner in owners.by_name.values()}
    kinds = {owner.id: str(owner.kind) for owner in owners.by_name.values()}
    owner = frame["owner_id"]
    known = "ownership_code" in frame.columns
    code = frame["ownership_code"] if known else repeated(None, frame.height, pl.String)
    read = pl.DataFrame(
        [
            frame["row"],
            looked_up(owner, names, pl.String).alias("owner"),
            looked_up(owner, kinds, pl.String).alias("owner_kind"),
            code.alias("ownership_code"),
            phone_as_read.alias("phone_as_read"),
            frame["phone"],
        ]
    )
    if read.height == rows.height:
        return rows.hstack(read.get_columns()[1:])
    return rows.join(read, on="row", how="left", validate="1:1", maintain_order="left")


def state(counts: Counts) -> State:
    """How a delivery ends whose records were loaded, as far as they could be."""
    clean = counts.rejected == 0 and counts.duplicate == 0
    return State.COMPLETED if clean else State.COMPLETED_WITH_REJECTS


def pool_state(counts: Counts) -> PoolState:
    """A file none of whose records became or touched a lead is a failed upload for whoever looks at the pools."""
    return PoolState.ACTIVE if counts.loaded else PoolState.UPLOAD_FAILED


def _outcome(outcome: Outcome) -> pl.Expr:
    return pl.lit(str(outcome)).alias("outcome")
