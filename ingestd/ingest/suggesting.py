"""Suggestions for a header or the first bytes of a file, made from what the store and the schemas know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from ingestd import schemas
from ingestd.ingest import reading
from ingestd.ingest.reading import Sheet
from ingestd.ingest.suggestions import SAMPLES, Knowledge, Suggestion, suggest
from ingestd.model import DialectHints
from ingestd.settings import Source
from ingestd.store import rules


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """One suggestion a column, in the order of the file; a field is suggested to one column only."""

    columns: tuple[Suggestion, ...]
    mapping: Mapping[str, str]
    """the same as a mapping that can be saved; an empty field: ignored"""
    missing_fields: tuple[str, ...]
    """required fields that no column is suggested for"""
    text: Mapping[str, Any] | None = None
    """how the file is read: encoding, delimiter …; None for a header"""


def knowledge(connection: Connection, folder: Path, campaign: str, saved: Mapping[str, str]) -> Knowledge:
    """What is known for files into a campaign, with a mapping that is; `folder` has the schemas.

    Raises Rejected for an unknown campaign.
    """
    here = rules.campaign(connection, campaign)
    return Knowledge(
        schema=schemas.read(folder, here.template),
        saved=saved,
        region=here.region,
        codes=frozenset(rules.owners(connection).by_code),
    )


def of_header(header: Sequence[str], columns: Sequence[Sequence[str]], known: Knowledge) -> Suggested:
    """Suggestions for a header with some values of each column. Pure."""
    found = suggest(header, columns, known)
    named = {each.field for each in found if each.field}
    return Suggested(
        columns=found,
        mapping={each.header: each.field or "" for each in found},
        missing_fields=tuple(each.name for each in known.schema.fields if each.required and each.name not in named),
    )


def first_values(sheet: Sheet) -> tuple[tuple[str, ...], ...]:
    """The first different values of each column, of which suggestions are made."""
    values = (sheet.cells[name].drop_nulls().unique(maintain_order=True) for name in sheet.header)
    return tuple(tuple(each.head(4 * SAMPLES).to_list()) for each in values)


def of_file(content: bytes, source: Source | None, known: Knowledge) -> Suggested:
    """Suggestions for the columns of a file; raises Rejected for bytes that are no table. Pure."""
    sheet = reading.read(content, name="file", hints=source.hints() if source else DialectHints())
    found = of_header(sheet.header, first_values(sheet), known)
    return Suggested(**{**vars(found), "text": vars(sheet.facts)})
