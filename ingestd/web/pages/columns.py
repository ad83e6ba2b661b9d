"""The columns of a file: what each probably is, and the mapping that a person chooses for them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingestd.errors import Invalid
from ingestd.ingest import head, reading, suggesting, suggestions
from ingestd.ingest.reading import Sheet
from ingestd.ingest.suggestions import Suggestion
from ingestd.model import DialectHints
from ingestd.receive import drafts
from ingestd.receive.drafts import Draft
from ingestd.schemas import LeadField
from ingestd.store import organisation
from ingestd.store.engine import reading as viewing
from ingestd.web.api.desk import Desk

MOST = 500
"""columns that a page can map; wider files are mapped over the API"""

WHYS: Mapping[str, str] = {
    "mapping": "saved so",
    "name": "has the field's name",
    "alias": "a known name of the field",
    "similar": "spelt alike",
    "content": "by its content",
    "ignored": "saved as ignored",
    "": "fits no field",
}
"""Why a field is suggested, in words."""
_CERTAIN = ("mapping", "name", "alias", "ignored")


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What of a file its columns are known by."""

    header: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    """the first different ones of each column"""
    encoding: str
    delimiter: str

    @classmethod
    def of(cls, sheet: Sheet) -> Beginning:
        """Of a file that was read, or of its first lines."""
        return cls(
            header=sheet.header,
            values=suggesting.first_values(sheet),
            encoding=sheet.facts.encoding,
            delimiter=sheet.facts.delimiter,
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """The beginning of a file as a table, with a suggestion for each column."""

    columns: tuple[Suggestion, ...]
    fields: tuple[LeadField, ...]
    encoding: str
    delimiter: str


def table(desk: Desk, draft: Draft, like: str = "") -> Table:
    """What the columns of a draft probably are; `like` names a source whose saved mapping counts.

    Raises Rejected when the file is no table, Missing when the draft has gone, and Unavailable.
    """
    with viewing(desk.engine) as connection:
        source = organisation.source(connection, like) if like else None
    return suggested(desk, Beginning.of(_sheet(desk, draft)), draft.campaign, source.mapping if source else {})


def suggested(desk: Desk, beginning: Beginning, campaign: str, saved: Mapping[str, str]) -> Table:
    """What the columns of a file into a campaign probably are, with a mapping that is known; raises Rejected."""
    with viewing(desk.engine) as connection:
        knowledge = suggesting.knowledge(connection, desk.schemas, campaign, saved)
    return Table(
        columns=suggestions.suggest(beginning.header, beginning.values, knowledge),
        fields=knowledge.schema.fields,
        encoding=beginning.encoding,
        delimiter=beginning.delimiter,
    )


def certain(table: Table) -> Table:
    """The same without what is only guessed: what the import itself takes each column for."""
    known = (
        each if each.why in _CERTAIN else dataclasses.replace(each, field=None, score=0.0, why="")
        for each in table.columns
    )
    return dataclasses.replace(table, columns=tuple(known))


def mapping(desk: Desk, draft: Draft, to: Sequence[str]) -> Mapping[str, str]:
    """Header → field, from the field of each column; raises Invalid when they are not as many as the columns."""
    return chosen(_sheet(desk, draft).header, to)


def chosen(header: Sequence[str], to: Sequence[str]) -> Mapping[str, str]:
    """Header → field of a file that was read; raises Invalid as `mapping` does."""
    if len(to) != len(header):
        told = f"the file has {len(header)} columns, and {len(to)} were mapped; open its columns once more"
        raise Invalid("mapping_unusable", told, field="to")
    return dict(zip(header, to, strict=True))


def written(mapped: Mapping[str, str]) -> str:
    """As a delivery keeps it; nothing for none."""
    return json.dumps(dict(mapped), ensure_ascii=False) if mapped else ""


def _sheet(desk: Desk, draft: Draft) -> Sheet:
    content = head.beginning(drafts.pieces(desk.spool, draft))
    return reading.read(content, name=draft.name, hints=DialectHints())
