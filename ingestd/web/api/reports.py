"""Reports over a period, as far as the caller may see them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from fastapi import Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Denied
from ingestd.leads import agents, reports
from ingestd.leads.agents import Agent
from ingestd.leads.reports import By, Every, Row, Wish
from ingestd.store.engine import reading
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes

routes = Routes("reports")

LOOKING = needs(Permission.LEAD_ADMIN, Permission.EXTENDED_INSIGHTS)


class ReportRow(BaseModel):
    """The figures of one campaign, pool, team or user in one period."""

    period: date = Field(description="its first day, also when the report begins within it")
    key: str = Field(description="code, number, key or login; `team:<key>` for leads that came for a team; `(rules)`")
    name: str
    uploaded: int = Field(description="leads that came; by team and user: those whose first owner it was")
    calls: int = Field(description="calls that ended")
    attempts: int = Field(description="those that count against the campaign's limit")
    contacts: int = Field(description="calls after which the lead had a status that says that somebody spoke")
    contact_rate: float | None = Field(description="percent of the calls; null: there were none")
    successes: int = Field(description="leads that became Success, by a call or without")
    success_rate: float | None = Field(
        description="percent of the calls after which the lead was Success; null: there were none"
    )
    closed: int = Field(description="open leads that were closed")
    statuses: dict[str, int] = Field(description="status → how often a lead got it")


class ReportOut(BaseModel):
    """A report: every row with anything in it."""

    by: By
    every: Every
    timezone: str
    rows: list[ReportRow]


def _wish(
    by: Annotated[By, Query(description="what each row is of")],
    start: Annotated[date, Query(alias="from", description="the first day")],
    end: Annotated[date, Query(alias="to", description="the last day")],
    every: Annotated[Every, Query(description="weeks begin on Monday")] = "day",
    timezone: Annotated[str, Query(max_length=64, description="whose days, such as `Europe/Copenhagen`")] = "UTC",
) -> Wish:
    return Wish(by=by, start=start, end=end, every=every, timezone=timezone)


AsWished = Annotated[Wish, Depends(_wish)]


@routes.get("/reports", access=LOOKING)
def get_report(desk: AtDesk, caller: ByCaller, wish: AsWished) -> ReportOut:
    """Leads that came, calls, contacts, successes and statuses. 422 `period_unusable`: more than 400 periods.

    Without `extended_insights` only of one's own team, and for team leaders of those below.
    """
    rows = [ReportRow(**_told(row)) for row in _rows(desk, caller, wish)]
    return ReportOut(by=wish.by, every=wish.every, timezone=wish.timezone, rows=rows)


@routes.get(
    "/reports.csv",
    access=LOOKING,
    response_class=Response,
    responses={
        200: {"description": "The report", "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
def get_report_csv(desk: AtDesk, caller: ByCaller, wish: AsWished) -> Response:
    """The same as a table, one column a status; texts that a spreadsheet would run as a formula begin with `'`."""
    headers = {"Content-Disposition": f'attachment; filename="report-{wish.by}-{wish.start}-{wish.end}.csv"'}
    found = reports.as_csv(_rows(desk, caller, wish), wish.by)
    return Response(found, media_type="text/csv; charset=utf-8", headers=headers)


def _rows(desk: AtDesk, caller: Caller, wish: Wish) -> list[Row]:
    with reading(desk.engine) as connection:
        return reports.report(connection, wish, _agent(connection, caller))


def _agent(connection: Connection, caller: Caller) -> Agent | None:
    """The user who asks, with no more than the key may; a key of the house stands in no team: all or nothing."""
    if caller.person is not None:
        return replace(agents.agent(connection, caller.person.login), permissions=caller.permissions)
    if Permission.EXTENDED_INSIGHTS not in caller.permissions:
        raise Denied(
            "key_without_user", "the key stands in no team: use a key of a user, or one with extended_insights"
        )
    return None


def _told(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ReportRow.model_fields}
