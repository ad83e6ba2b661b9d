"""What a saved view of lead pools says: a filter, columns with added figures, and an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from ingestd.errors import Invalid
from ingestd.leads import days, kpis
from ingestd.leads.views import Content
from ingestd.store import pool_lists
from ingestd.store.pool_lists import Wanted

FILTERS: Mapping[str, str] = {
    "campaign": "campaign is {}",
    "project": "project is {}",
    "state": "state is {}",
    "name": "name contains {}",
    "by": "uploaded by {}",
    "since": "uploaded from {}",
    "until": "uploaded until {}",
}
"""What pools are looked for by, each a text, and how it is told."""
COLUMNS: Mapping[str, str] = {
    "name": "Name",
    "project": "Project",
    "campaign": "Campaign",
    "state": "State",
    "use": "Use",
    "ready_to_dial": "Ready to dial",
    "total_open": "Total open",
    "percent_closed": "% closed",
    "percent_used": "% used",
    "total": "Total",
    "uploaded": "Uploaded",
}
"""The columns of a list of pools, in their order; the name is always there."""
FIGURE = "kpi:"
"""Before the name of an added figure, among the columns."""
MOST_FIGURES = 20
LONGEST = 200
"""characters of what is looked for"""


def wanted(said: Mapping[str, str]) -> Wanted:
    """Which pools a filter means. Raises Invalid for a day that is none."""
    return Wanted(
        campaign=said.get("campaign", ""),
        project=said.get("project", ""),
        state=said.get("state", ""),
        name=said.get("name", "").strip(),
        uploaded_by=said.get("by", "").strip(),
        since=days.begin(said.get("since", ""), "since"),
        until=days.end(said.get("until", ""), "until"),
    )


def figures(names: Sequence[str]) -> list[str]:
    """The added figures among the columns of a view, without their prefix. Pure."""
    return [name.removeprefix(FIGURE) for name in names if name.startswith(FIGURE)]


def columns(names: Sequence[str]) -> list[str]:
    """The pool's own columns that are shown, in their order; none named: all. Raises Invalid for one that is none."""
    for name in names:
        if name not in COLUMNS:
            told = f"no pool has the column {name!r}; use some of {', '.join(COLUMNS)}, and {FIGURE}<figure>"
            raise Invalid("column_unknown", told, field="columns")
    return [name for name in COLUMNS if not names or name in names or name == "name"]


def judged(connection: Connection, content: Content) -> Content:
    """The content in its one form; raises Invalid for what no list of pools has."""
    said = {name: _text(name, value) for name, value in content.filter.items()}
    said = {name: said[name] for name in FILTERS if said.get(name)}
    wanted(said)
    sort = content.sort or pool_lists.NEWEST
    pool_lists.order(sort)
    return replace(content, filter=said, columns=_columns(connection, content.columns), sort=sort)


def told(content: Content) -> str:
    """The filter as a sentence. Pure."""
    return ", ".join(FILTERS[name].format(value) for name, value in content.filter.items()) or "every pool"


def _text(name: str, value: Any) -> str:
    if name not in FILTERS:
        told = f"pools are not looked for by {name!r}; use some of {', '.join(FILTERS)}"
        raise Invalid("filter_unusable", told, field="filter")
    if not isinstance(value, str) or len(value) > LONGEST:
        raise Invalid("filter_unusable", f"{name} is a text of at most {LONGEST} characters", field="filter")
    return value.strip()


def _columns(connection: Connection, names: Sequence[str]) -> tuple[str, ...]:
    added = list(dict.fromkeys(figures(names)))
    if len(added) > MOST_FIGURES:
        raise Invalid("kpi_unknown", f"at most {MOST_FIGURES} figures are shown at once", field="columns")
    kpis.named(connection, added)
    own = columns([name for name in names if not name.startswith(FIGURE)])
    return (*own, *(f"{FIGURE}{name}" for name in added))
