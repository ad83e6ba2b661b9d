"""How the work stands."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ingestd.access.permissions import Permission
from ingestd.web.api.access import needs
from ingestd.web.api.desk import AtDesk
from ingestd.web.api.routes import Routes

routes = Routes("queue")


class QueueOut(BaseModel):
    """Deliveries that are not done."""

    ready: int = Field(description="wait for a worker")
    running: int = Field(description="are in one")
    waiting: int = Field(description="wait for the proof that they are whole")
    oldest_seconds: float = Field(description="how long the oldest job has been due")


@routes.get("/queue", access=needs(Permission.LEAD_POOLS))
def get_queue(desk: AtDesk) -> QueueOut:
    """How many deliveries wait, and for how long."""
    found = desk.dispatcher.health()
    known = {name: found[name] for name in ("ready", "running", "oldest_seconds")}
    return QueueOut(**known, waiting=desk.ledger.waiting())
