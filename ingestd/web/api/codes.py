"""Lead Ownership Codes: whose each is, and what hangs on it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ingestd.organisation import owners
from ingestd.store.engine import reading
from ingestd.web.api.desk import AtDesk
from ingestd.web.api.routes import Routes
from ingestd.web.api.teams import LOOKING

routes = Routes("ownership codes")


class CodeOut(BaseModel):
    """A Lead Ownership Code; it is changed at its team or user."""

    code: str
    kind: Literal["team", "user"]
    owner: str = Field(description="key of the team, or login of the user")
    name: str


class CodeUse(CodeOut):
    """A Lead Ownership Code, and what hangs on it."""

    leads: int = Field(description="leads that its owner has now")


@routes.get("/ownership-codes", access=LOOKING)
def list_codes(desk: AtDesk) -> list[CodeOut]:
    """Every Lead Ownership Code, of teams and users together."""
    with reading(desk.engine) as connection:
        return [CodeOut(**vars(code)) for code in owners.codes(connection)]


@routes.get("/ownership-codes/{code}", access=LOOKING, problems=(404,))
def get_code(desk: AtDesk, code: str) -> CodeUse:
    """Whose a code is, whatever its capitals, and how many leads they own."""
    with reading(desk.engine) as connection:
        found = owners.code(connection, code)
        return CodeUse(**vars(found), leads=owners.leads_of(connection, found.kind, found.owner))
