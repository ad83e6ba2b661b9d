"""What people type about a lead is read and judged as an import would: the same types, rules and messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import load, validation
from ingestd.model import CampaignRules, Severity
from ingestd.schemas import SYSTEM_FIELDS, Schema


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with one field."""

    field: str
    code: str
    severity: str
    value: str
    message: str
    suggestion: str


class Refused(Rejected):
    """What was typed has errors; `problems` names all of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        told = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        hints = dict.fromkeys(problem.suggestion for problem in problems if problem.suggestion)
        super().__init__("lead_refused", told, suggestion="; ".join(hints))
        self.problems = problems


def frame_of(schema: Schema, values: Mapping[str, str | None]) -> pl.DataFrame:
    """One record of text, trimmed, empty cells null; raises Rejected for a field that the campaign does not have."""
    unknown = sorted(set(values) - set(schema.by_name))
    if unknown:
        raise Rejected(
            "field_unknown",
            f"the campaign has no field {', '.join(unknown)}",
            suggestion=f"its fields are {', '.join(schema.by_name)}",
        )
    cells = {name: [((value or "").strip()) or None] for name, value in values.items()}
    columns = {name: pl.Series(cell, dtype=pl.String) for name, cell in cells.items()}
    return pl.DataFrame({"row": pl.Series([1], dtype=pl.UInt32), **columns})


def judge(
    schema: Schema, campaign: CampaignRules, values: Mapping[str, str | None], today: date, *, lenient: bool
) -> validation.Checked:
    """The typed record with the problems found; `lenient` leaves a phone that cannot be read as it is."""
    rules = validation.Rules(
        schema=schema,
        region=campaign.region,
        timezone=campaign.timezone,
        dates="dmy",
        today=today,
        invalid_phone_closes=lenient,
    )
    frame = frame_of(schema, values)
    columns = {name: schema.by_name[name].title for name in values}
    return validation.check(frame, columns, rules)


def problems_of(found: pl.DataFrame, only: Mapping[str, Any] | None = None) -> tuple[Problem, ...]:
    """The rows of a table of problems; with `only`, those of these fields."""
    names = list(Problem.__dataclass_fields__)
    every = (Problem(**row) for row in found.select(names).iter_rows(named=True))
    return tuple(problem for problem in every if only is None or problem.field in only)


def errors(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Those for which a record is refused; the others are remarks."""
    return tuple(problem for problem in problems if problem.severity == Severity.ERROR)


def typed(checked: validation.Checked, names: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the named fields as columns of a lead, and as entries of its `extra`."""
    row = checked.frame.select(name for name in names if name in SYSTEM_FIELDS)
    extra = [name for name in names if name not in SYSTEM_FIELDS]
    packed = load.pack_extra(checked.frame.select(extra), extra) if extra else None
    entries: dict[str, Any] = dict.fromkeys(extra)
    if packed is not None and packed["extra"][0] is not None:
        entries |= json.loads(packed["extra"][0])
    return (row.row(0, named=True) if row.width else {}), entries
