"""The columns of an uploaded file: what each probably is, and the mapping that a person chooses for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingestd import schemas
from ingestd.errors import Invalid
from ingestd.ingest import head, reading, suggestions
from ingestd.ingest.reading import Sheet
from ingestd.ingest.suggestions import SAMPLES, Knowledge, Suggestion
from ingestd.model import DialectHints
from ingestd.receive import drafts
from ingestd.receive.drafts import Draft
from ingestd.schemas import LeadField
from ingestd.store import organisation, rules
from ingestd.store.engine import reading as viewing
from ingestd.web.api.desk import Desk

MOST = 500
"""columns that a page can map; wider files are mapped over the API"""
HEAD_BYTES = 1024 * 1024
"""of a file, from which its columns are known and suggested"""

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
    sheet = _sheet(desk, draft)
    knowledge = _knowledge(desk, draft.campaign, like)
    values = [
        sheet.cells[name].drop_nulls().unique(maintain_order=True).head(4 * SAMPLES).to_list() for name in sheet.header
    ]
    return Table(
        columns=suggestions.suggest(sheet.header, values, knowledge),
        fields=knowledge.schema.fields,
        encoding=sheet.facts.encoding,
        delimiter=sheet.facts.delimiter,
    )


def mapping(desk: Desk, draft: Draft, to: Sequence[str]) -> Mapping[str, str]:
    """Header → field, from the field of each column; raises Invalid when they are not as many as the columns."""
    header = _sheet(desk, draft).header
    if len(to) != len(header):
        told = f"the file has {len(header)} columns, and {len(to)} were mapped; open its columns once more"
        raise Invalid("mapping_unusable", told, field="to")
    return dict(zip(header, to, strict=True))


def written(chosen: Mapping[str, str]) -> str:
    """As a delivery keeps it; nothing for none."""
    return json.dumps(dict(chosen), ensure_ascii=False) if chosen else ""


def _sheet(desk: Desk, draft: Draft) -> Sheet:
    return reading.read(_beginning(desk, draft), name=draft.name, hints=DialectHints())


def _beginning(desk: Desk, draft: Draft) -> bytes:
    """The first lines; all of a packed file, which cannot be read in parts."""
    gathered = bytearray()
    for piece in drafts.pieces(desk.spool, draft):
        gathered += piece
        if len(gathered) >= HEAD_BYTES and not head.is_packed(bytes(gathered[:4])):
            break
    whole = len(gathered) >= draft.size
    return bytes(gathered) if whole else head.whole_lines(bytes(gathered[:HEAD_BYTES]))


def _knowledge(desk: Desk, campaign: str, like: str) -> Knowledge:
    with viewing(desk.engine) as connection:
        here = rules.campaign(connection, campaign)
        source = organisation.source(connection, like) if like else None
        codes = frozenset(rules.owners(connection).by_code)
    return Knowledge(
        schema=schemas.read(desk.schemas, here.template),
        saved=source.mapping if source else {},
        region=here.region,
        codes=codes,
    )
