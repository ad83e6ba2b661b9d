"""The saved mapping of each source, with its versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Response
from pydantic import BaseModel, Field

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Denied
from ingestd.organisation import mappings
from ingestd.settings import mapping_digest
from ingestd.store.engine import reading, writing
from ingestd.store.mappings import Version
from ingestd.web.api import tags
from ingestd.web.api.access import needs
from ingestd.web.api.bodies import Given
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.routes import Routes
from ingestd.web.api.tags import IfMatch
from ingestd.web.api.teams import Why

routes = Routes("mappings")

LOOKING = needs(Permission.LEAD_POOLS, Permission.MANAGE_SOURCES, bound_keys=True)
MANAGING = needs(Permission.MANAGE_SOURCES)

Mapping = Annotated[
    dict[str, Annotated[str, Field(max_length=64)]],
    Field(max_length=2_000, description="header → field; an empty field ignores the column"),
]


class MappingVersion(BaseModel):
    """What the mapping of a source was from a moment on."""

    version: int
    mapping: dict[str, str] = Field(description="header → field; an empty field ignores the column")
    digest: str = Field(description="`mapping_version` in the summaries of deliveries; empty for an empty mapping")
    saved_at: datetime
    saved_by: str
    why: str


class MappingNew(Given):
    """The mapping of a source, all of it."""

    mapping: Mapping


@routes.get("/sources/{source}/mapping", access=LOOKING, problems=(404,))
def get_mapping(desk: AtDesk, caller: ByCaller, response: Response, source: str) -> MappingVersion:
    """The mapping that the next file of a source is read with."""
    refuse_other_source(caller, source)
    with reading(desk.engine) as connection:
        return _marked(response, mappings.current(connection, source))


@routes.put("/sources/{source}/mapping", access=MANAGING, problems=(404, 409, 412))
def set_mapping(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    source: str,
    body: MappingNew,
    why: Why = "",
    if_match: IfMatch = None,
) -> MappingVersion:
    """Saves the mapping of a source; it counts from the next delivery on. The same one again makes no version."""
    deed, seen = caller.deed(desk.clock(), why), tags.seen(if_match)
    with writing(desk.engine) as connection:
        saved = mappings.save(connection, deed, source, body.mapping, folder=desk.schemas, seen=seen)
    return _marked(response, saved)


@routes.get("/sources/{source}/mapping/versions", access=LOOKING, problems=(404,))
def list_mapping_versions(desk: AtDesk, caller: ByCaller, source: str) -> list[MappingVersion]:
    """Every mapping that a source had, the newest first."""
    refuse_other_source(caller, source)
    with reading(desk.engine) as connection:
        return [_out(each) for each in mappings.versions(connection, source)]


@routes.post("/sources/{source}/mapping/versions/{version}/restore", access=MANAGING, problems=(404, 409, 412))
def restore_mapping(
    desk: AtDesk,
    caller: ByCaller,
    response: Response,
    source: str,
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    why: Why = "",
    if_match: IfMatch = None,
) -> MappingVersion:
    """Makes an earlier version the mapping once more; it becomes the newest version."""
    deed, seen = caller.deed(desk.clock(), why), tags.seen(if_match)
    with writing(desk.engine) as connection:
        saved = mappings.restore(connection, deed, source, version, folder=desk.schemas, seen=seen)
    return _marked(response, saved)


def refuse_other_source(caller: Caller, source: str) -> None:
    """Raises Denied for a key that is bound to another one."""
    if not caller.may_act_for(source):
        raise Denied("key_bound", f"this key is for the source {caller.source}", source=caller.source)


def _out(version: Version) -> MappingVersion:
    return MappingVersion(**{**vars(version), "mapping": dict(version.mapping)}, digest=mapping_digest(version.mapping))


def _marked(response: Response, version: Version) -> MappingVersion:
    tags.mark(response, mappings.tag(version))
    return _out(version)
