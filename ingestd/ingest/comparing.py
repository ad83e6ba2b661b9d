"""Comparing: what a record says of its lead that the lead does not say yet. An empty cell says nothing.

An update has each column twice: with the value that the lead gets, and behind `_there` with the one that it had when it
was looked at. Where the two are the same the record changes nothing, whatever somebody else writes there meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

THERE = "_there"


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
    """`id`, `version` and the columns that these updates write: those in which one of the leads changes."""
    compared = columns(updates)
    differing = updates.select(_differs(name).any().alias(name) for name in compared)
    return updates.select("id", "version", *(name for name in compared if differing[name][0]))


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
