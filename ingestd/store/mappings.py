"""The versions of each source's mapping, as they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select

from ingestd.store.audit import Deed
from ingestd.store.mapping_tables import mapping_versions
from ingestd.store.tables import sources

# Built once, because every delivery asks.
_LATEST = (
    select(func.max(mapping_versions.c.version))
    .join_from(mapping_versions, sources, sources.c.id == mapping_versions.c.source_id)
    .where(sources.c.name == bindparam("source"))
)


@dataclass(frozen=True, kw_only=True)
class Version:
    """What the mapping of a source was from a moment on."""

    version: int
    mapping: Mapping[str, str]
    """header → field; an empty field ignores the column"""
    saved_at: datetime
    saved_by: str
    why: str


def latest(connection: Connection, source: str) -> int | None:
    """The number of the mapping that a source has now; None for a source that is not there."""
    number: int | None = connection.scalar(_LATEST, {"source": source})
    return number


def every(connection: Connection, source_id: int) -> list[Version]:
    """Every mapping that a source had, the newest first."""
    columns = [mapping_versions.c[name] for name in Version.__dataclass_fields__]
    query = select(*columns).where(mapping_versions.c.source_id == source_id)
    rows = connection.execute(query.order_by(mapping_versions.c.version.desc())).mappings()
    return [Version(**{**row, "mapping": json.loads(row["mapping"])}) for row in rows]


def add(connection: Connection, deed: Deed, source_id: int, mapping: Mapping[str, str]) -> None:
    """Keeps a further version, when the mapping is another than before."""
    before = every(connection, source_id)
    if before and before[0].mapping == mapping:
        return
    text = json.dumps(dict(mapping), ensure_ascii=False)
    saved = {"mapping": text, "saved_at": deed.at, "saved_by": deed.actor.name, "why": deed.why}
    number = before[0].version + 1 if before else 1
    connection.execute(insert(mapping_versions).values(source_id=source_id, version=number, **saved))
