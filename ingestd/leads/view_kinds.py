"""What a saved view may say, for each list that has views: leads in Lead Admin, and lead pools."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from ingestd.leads import columns, conditions, filters, ordering, pool_views, views
from ingestd.leads.views import Content, Kind


def judged(connection: Connection, folder: Path, content: Content, at: datetime) -> Content:
    """The content in its one form; `folder` has the schemas. Raises Invalid for what no list of its kind has."""
    named = replace(content, name=views.named(content.name))
    if content.kind == Kind.POOLS:
        return pool_views.judged(connection, named)
    return _of_leads(connection, folder, named, at)


def told(connection: Connection, folder: Path, content: Content) -> str:
    """The filter of a view as a sentence."""
    if content.kind == Kind.POOLS:
        return pool_views.told(content)
    return filters.told(filters.parsed(content.filter, columns.fields_of(connection, folder)))


def _of_leads(connection: Connection, folder: Path, content: Content, at: datetime) -> Content:
    fields = columns.fields_of(connection, folder)
    every = columns.known(fields)
    tree = filters.parsed(content.filter, fields)
    conditions.condition(tree, conditions.terms(connection, at))
    shown = tuple(column.name for column in columns.chosen(content.columns, every))
    sort = ordering.parsed(content.sort, every).written
    return replace(content, filter=filters.written(tree), columns=shown, sort=sort)
