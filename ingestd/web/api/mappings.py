"""Making a mapping: what each column probably is, and how the first records would load with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, ValidationError

from ingestd.access.callers import Caller
from ingestd.errors import Invalid, Rejected
from ingestd.ingest import head, rehearsal, suggesting
from ingestd.ingest.judging import Judge
from ingestd.ingest.rehearsal import MOST_ROWS
from ingestd.ingest.suggestions import Knowledge
from ingestd.settings import Source
from ingestd.store.engine import reading as viewing
from ingestd.web.api import imports, rehearsals
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.rehearsals import Asked, RehearsalOut
from ingestd.web.api.routes import Routes
from ingestd.web.api.source_mappings import LOOKING, refuse_other_source

routes = Routes("mappings")

MOST_COLUMNS = 2_000

Cell = Annotated[str, Field(max_length=4_000)]
Why = Literal["mapping", "name", "alias", "similar", "content", "ignored", ""]


class Question(Given):
    """A header, and some of what is below it."""

    source: str = Field("", max_length=64, description="whose saved mapping and campaign count")
    campaign: str = Field("", max_length=64, description="whose fields count; empty: the source's own")
    header: list[Cell] = Field(min_length=1, max_length=MOST_COLUMNS)
    samples: list[list[Cell]] = Field([], max_length=100, description="records, cells in the order of the header")


class GuessOut(BaseModel):
    """One field that a column may be."""

    field: str
    score: float = Field(description="0 to 100")
    why: Why


class SuggestionOut(BaseModel):
    """What a column probably is."""

    header: str
    field: str | None = Field(description="null: nothing fits, or the saved mapping ignores the column")
    score: float = Field(description="0 to 100; 100 is what the import itself would take it for")
    why: Why = Field(
        description="`mapping`: saved so; `name`, `alias`: of the field; `similar`: spelt alike; `content`: by its "
        "cells; `ignored`: saved so"
    )
    alternatives: list[GuessOut] = Field(description="what else it may be, up to three")
    samples: list[str] = Field(description="its first different values")


class Suggested(BaseModel):
    """One suggestion a column, in the order of the file; a field is suggested to one column only."""

    columns: list[SuggestionOut]
    mapping: dict[str, str] = Field(description="the same as a mapping that can be saved; an empty field: ignored")
    missing_fields: list[str] = Field(description="required fields that no column is suggested for")
    text: dict[str, Any] | None = Field(description="how the file is read: encoding, delimiter …; null for a header")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Whose mapping is made."""

    source: Source | None
    campaign: str


SourceName = Annotated[str, Query(max_length=64, description="of a file: whose saved mapping and campaign count")]
Campaign = Annotated[str, Query(max_length=64, description="of a file: whose fields count; empty: the source's own")]
Part = Annotated[
    bool, Query(description="true: the body is only the beginning of a file, and its last line may not be whole")
]

_JSON = {"application/json": {"schema": Question.model_json_schema(ref_template="#/components/schemas/{model}")}}
_BODY: dict[str, Any] = {**imports.BODY, "content": {**_JSON, **imports.BODY["content"]}}


@routes.post("/mappings/suggest", access=LOOKING, problems=(404, 409, 413), body=_BODY)
async def suggest_mapping(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    source: SourceName = "",
    campaign: Campaign = "",
) -> Suggested:
    """Says which field each column probably is: of a header as JSON, or of the first bytes of a file (at most 1 MiB).

    409 with the reader's code, such as `not_a_table`, when the bytes are no table.
    """
    body = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
        return await run_in_threadpool(_of_header, desk, caller, _question(body))
    return await run_in_threadpool(_of_file, desk, caller, (source, campaign), head.whole_lines(body))


@routes.post("/mappings/preview", access=LOOKING, problems=(404, 413), body=imports.BODY)
async def preview_mapping(
    request: Request,
    desk: AtDesk,
    what: Annotated[Asked, Depends(rehearsals.asked)],
    rows: Annotated[int, Query(ge=1, le=MOST_ROWS, description="records that are shown")] = 20,
    part: Part = False,
) -> RehearsalOut:
    """Shows the first records as they would load: typed values, owner, errors. Nothing is kept.

    Everything is said of the bytes that came, at most 1 MiB; `/imports/dry-run` says it of a whole file.
    """
    body = await request.body()
    content = head.whole_lines(body) if part else body
    judge = Judge(engine=desk.engine, schemas=desk.schemas, delivery=rehearsal.provisional(what.arrival, desk.clock()))
    rehearsed = await run_in_threadpool(rehearsal.rehearse, judge, lambda: content, rows=rows)
    return rehearsals.out(rehearsal.as_json(rehearsed))


def _question(body: bytes) -> Question:
    try:
        return Question.model_validate_json(body)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in ("body", *first["loc"]))
        raise Invalid("value_unusable", first["msg"], field=field) from None


def _of_header(desk: Desk, caller: Caller, question: Question) -> Suggested:
    place = _place(desk, caller, question.source, question.campaign, where="body")
    width = len(question.header)
    columns = [[row[at] for row in question.samples if at < len(row)] for at in range(width)]
    return _out(suggesting.of_header(question.header, columns, _knowledge(desk, place)))


def _of_file(desk: Desk, caller: Caller, named: tuple[str, str], content: bytes) -> Suggested:
    place = _place(desk, caller, *named, where="query")
    return _out(suggesting.of_file(content, place.source, _knowledge(desk, place)))


def _place(desk: Desk, caller: Caller, source: str, campaign: str, *, where: str) -> Place:
    """Raises Denied, Missing and Invalid. A key that is bound to a source need not name it."""
    name = source or caller.source or ""
    if not name and not campaign:
        raise Invalid("value_unusable", "name a source or a campaign", field=f"{where}.source")
    if not name:
        return Place(source=None, campaign=campaign)
    refuse_other_source(caller, name)
    here = rehearsals.source_of(desk, caller, name)
    return Place(source=here, campaign=campaign or here.campaign)


def _knowledge(desk: Desk, place: Place) -> Knowledge:
    saved = place.source.mapping if place.source else {}
    with viewing(desk.engine) as connection:
        try:
            return suggesting.knowledge(connection, desk.schemas, place.campaign, saved)
        except Rejected as problem:
            raise Invalid("campaign_unknown", problem.message, field="campaign") from problem


def _out(found: suggesting.Suggested) -> Suggested:
    return Suggested(**asdict(found))
