"""Comparing: what a record says of its lead that the lead does not say yet. An empty cell says nothing.

An update has each column twice: with the value that the lead gets, and behind `_there` with the one that it had when it
was looked at. Where the two are the same the record changes nothing, whatever somebody else writes there meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

THERE = "_there"

_EVENTS = pl.Schema(
    {"lead_id": pl.Int64, "version": pl.Int64, "field": pl.String, "before": pl.String, "after": pl.String}
)


def columns(updates: pl.DataFrame) -> list[str]:
    """The columns of the table of leads that are compared."""
    return [name.removesuffix(THERE) for name in updates.columns if name.endswith(THERE)]


def compare(known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records that say something new about their lead, and those that do not, with the values that it gets."""
    compared = columns(known)
    if "extra" in compared:
        known = known.with_columns(_by_pairs(merge, known))
    values = known.with_columns(pl.coalesce(name, f"{name}{THERE}").alias(name) for name in compared)
    differs = pl.any_horizontal(pl.lit(value=False), *(_differs(name) for name in compared))
    return values.filter(differs), values.filter(~differs)


def rebased(updates: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Updates of leads that somebody changed since they were looked at, as those of what the leads say now (`there`).

    What says nothing new any more is left out.
    """
    compared = columns(updates)
    if "extra" in compared:
        updates = updates.with_columns(_by_pairs(_packed_patch, updates))
    said = updates.with_columns(pl.when(_differs(name)).then(name).alias(name) for name in compared)
    plain = said.drop("version", *(f"{name}{THERE}" for name in compared))
    changed, _ = compare(plain.join(there, on="id", how="inner", suffix=THERE, validate="1:1", maintain_order="left"))
    return changed


def written(updates: pl.DataFrame) -> pl.DataFrame:
    """`id`, `version` and the columns that these updates write: those in which one of the leads changes.

    Whose status alone changes is left out: that is no value of a record (`closed`).
    """
    compared = _fields(updates)
    differing = updates.select(pl.lit(value=False), *(_differs(name).any().alias(name) for name in compared))
    names = [name for name in compared if differing[name][0]]
    rows = updates
    if "status_id" in updates.columns:
        rows = updates.filter(pl.any_horizontal(pl.lit(value=False), *(_differs(name) for name in names)))
    return rows.select("id", "version", *names)


def closed(updates: pl.DataFrame) -> dict[int, list[int]]:
    """The leads that a do-not-call list closes, by the status that they get."""
    if "status_id" not in updates.columns:
        return {}
    found = updates.filter(_differs("status_id")).group_by("status_id").agg("id")
    return dict(found.select("status_id", "id").rows())


def events(updates: pl.DataFrame, template: Sequence[str]) -> pl.DataFrame:
    """What history tells of these updates: `lead_id`, `version`, `field`, `before`, `after`, lead by lead.

    `template` are the fields that are packed in `extra`; each is told by itself.
    """
    plain = [name for name in _fields(updates) if name != "extra"]
    told = [_event(updates, name, *(_shown(updates, f"{name}{which}") for which in (THERE, ""))) for name in plain]
    if f"extra{THERE}" in updates.columns:
        changed = updates.filter(_differs("extra"))
        told += [
            _event(changed, name, *(pl.col(f"extra{which}").str.json_path_match(f"$.{name}") for which in (THERE, "")))
            for name in template
        ]
    empty = pl.DataFrame(schema=_EVENTS)
    return pl.concat([empty, *told]).sort("lead_id", maintain_order=True)


def said(update: Mapping[str, Any]) -> dict[str, Any]:
    """What one update changes, by column; of `extra` the fields that it changes."""
    compared = [name.removesuffix(THERE) for name in update if name.endswith(THERE)]
    found = {name: update[name] for name in compared if update[name] != update[f"{name}{THERE}"]}
    if "extra" in found:
        found["extra"] = _patch(found["extra"], update[f"extra{THERE}"])
    return found


def merge(mine: str | None, there: str | None) -> str | None:
    """The template's fields as they are then; None when the record says nothing of them."""
    if mine is None or there is None or mine == there:
        return mine
    old: dict[str, Any] = json.loads(there)
    merged = old | {name: value for name, value in json.loads(mine).items() if value is not None}
    return there if merged == old else json.dumps(merged, ensure_ascii=False, separators=(",", ":"))


def _fields(updates: pl.DataFrame) -> list[str]:
    return [name for name in columns(updates) if name != "status_id"]


def _event(updates: pl.DataFrame, field: str, before: pl.Expr, after: pl.Expr) -> pl.DataFrame:
    """One for each lead in which the field changes."""
    version = pl.col("version").cast(pl.Int64) + 1
    told = (pl.lit(field).alias("field"), before.alias("before"), after.alias("after"))
    every = updates.select(pl.col("id").cast(pl.Int64).alias("lead_id"), version.alias("version"), *told)
    return every.filter(pl.col("before").ne_missing(pl.col("after")))


def _shown(updates: pl.DataFrame, name: str) -> pl.Expr:
    """A value as history keeps it: dates and moments as in ISO 8601, with fractions of a second only where it has."""
    kind = updates.schema[name]
    if kind == pl.Date:
        return pl.col(name).dt.strftime("%Y-%m-%d")
    if kind == pl.Datetime:
        return pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").str.replace(".000000", "", literal=True)
    return pl.col(name).cast(pl.String)


def _differs(name: str) -> pl.Expr:
    return pl.col(name).ne_missing(pl.col(f"{name}{THERE}"))


def _by_pairs(make: Any, frame: pl.DataFrame) -> pl.Series:
    pairs = zip(frame["extra"], frame[f"extra{THERE}"], strict=True)
    return pl.Series("extra", [make(mine, there) for mine, there in pairs], dtype=pl.String)


def _patch(mine: str | None, there: str | None) -> dict[str, Any]:
    old: dict[str, Any] = json.loads(there or "{}")
    return {name: value for name, value in json.loads(mine or "{}").items() if value != old.get(name)}


def _packed_patch(mine: str | None, there: str | None) -> str | None:
    """The same as the record of a file has it."""
    return None if mine == there else json.dumps(_patch(mine, there), ensure_ascii=False)
