"""Import by HTTP: a file as the body of a request or in a form, and leads as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission
from ingestd.errors import Invalid
from ingestd.organisation.uploads import Wish
from ingestd.store.orders import BATCH
from ingestd.web.api import arrivals, forms, repeating, tables
from ingestd.web.api.access import needs
from ingestd.web.api.arrivals import Asked
from ingestd.web.api.bodies import Given
from ingestd.web.api.deliveries import DeliveryOut, known, out
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.forms import Form
from ingestd.web.api.repeating import IdempotencyKey, Turn, target
from ingestd.web.api.routes import Routes, announced, too_large
from ingestd.web.api.tables import Record

routes = Routes("imports")

IMPORTING = needs(Permission.LEAD_POOLS, bound_keys=True)

_FILE = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {"required": True, "content": dict.fromkeys(("application/octet-stream", "text/csv"), _FILE)}

Source = Annotated[
    str, Query(max_length=64, description="the source whose mapping and rules the file has; empty: an upload")
]
Campaign = Annotated[str, Query(max_length=64, description="one of the source's; empty: its own. An upload needs one")]
Owner = Annotated[
    str,
    Query(
        max_length=80,
        description="`team:<key>`, `user:<login>` or `code:<Lead Ownership Code>`: the default owner of this delivery",
    ),
]
Mapping = Annotated[
    str,
    Query(
        max_length=16_384,
        description="for this delivery alone: a JSON object of header and field, or `source:<name>` for a saved one",
    ),
]


def wish(source: Source = "", campaign: Campaign = "", owner: Owner = "", mapping: Mapping = "") -> Wish:
    return Wish(source=source, campaign=campaign, owner=owner, mapping=mapping)


def _asked(
    desk: AtDesk,
    caller: ByCaller,
    request: Request,
    name: Annotated[str, Query(description="the file's name, without folders")],
    wanted: Annotated[Wish, Depends(wish)],
) -> Asked:
    """Looked at before a byte of the file is read."""
    return arrivals.asked(request, caller, arrivals.granted(desk, caller, wanted), name)


@routes.post(
    "/imports",
    access=IMPORTING,
    status_code=HTTPStatus.ACCEPTED,
    problems=(400, 404, 408, 409, 413, 503),
    largest=None,
    body=BODY,
)
async def import_file(
    request: Request,
    response: Response,
    desk: AtDesk,
    caller: ByCaller,
    asked: Annotated[Asked, Depends(_asked)],
    idempotency_key: IdempotencyKey = None,
) -> DeliveryOut:
    """Receives a file as it is, packed or not, and queues it. The same file again ends as a duplicate.

    When this answers 202 the bytes survive a power cut. `Location` is where its state is seen. Without a source it is
    an upload: the campaign is named, and the owner who gets what names no Lead Ownership Code.
    """
    with Turn(desk=desk, caller=caller, key=idempotency_key, target=target(request)) as turn:
        if announced(request) > asked.limit:
            raise too_large(asked.limit)
        landed = await arrivals.receive(desk, request, request.stream(), asked, turn)
    landed.mark(response)
    return out(await run_in_threadpool(known, desk, caller, landed.number))


_TEXT = {"type": "string"}
_FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    **dict.fromkeys(("source", "campaign", "owner", "mapping", "name", "idempotency_key"), _TEXT),
                    "file": {"type": "string", "format": "binary", "description": "after all the fields"},
                },
            }
        }
    },
}
_FIELDS = {"source", "campaign", "owner", "mapping", "name", "idempotency_key"}


@routes.post(
    "/imports/form",
    access=IMPORTING,
    status_code=HTTPStatus.ACCEPTED,
    problems=(400, 404, 408, 409, 413, 503),
    largest=None,
    body=_FORM,
)
async def import_form(
    request: Request, response: Response, desk: AtDesk, caller: ByCaller, idempotency_key: IdempotencyKey = None
) -> DeliveryOut:
    """The same for a form of a page (multipart/form-data): the fields are those of the query, the file comes last.

    Without a field `name` the file is called what the browser calls it; `idempotency_key` may be a field, too.
    """
    form, stream = Form(), request.stream()
    content = await form.head(stream, forms.boundary_of(request))
    asked = await run_in_threadpool(_asked_by_form, desk, caller, request, form)
    if announced(request) > asked.limit + forms.OVERHEAD:
        raise too_large(asked.limit)
    said = {name: text for name, text in form.fields.items() if name != "idempotency_key"}
    key = idempotency_key or repeating.key_of(form.fields.get("idempotency_key", ""))
    with Turn(desk=desk, caller=caller, key=key, target=target(request, **said)) as turn:
        landed = await arrivals.receive(desk, request, content, asked, turn)
    landed.mark(response)
    return out(await run_in_threadpool(known, desk, caller, landed.number))


def _asked_by_form(desk: Desk, caller: Caller, request: Request, form: Form) -> Asked:
    if unknown := sorted(form.fields.keys() - _FIELDS):
        raise Invalid(
            "form_unusable", f"the form has a field {unknown[0]!r}, which is none", field=f"body.{unknown[0]}"
        )
    said = {name: form.fields.get(name, "") for name in ("source", "campaign", "owner", "mapping")}
    wanted = arrivals.granted(desk, caller, Wish(**said, place="body"))
    name = form.fields.get("name") or re.split(r"[/\\]", form.filename)[-1]
    return arrivals.asked(request, caller, wanted, name, place="body")


class Batch(Given):
    """Leads that are sent together, and become one delivery."""

    source: str = Field("", max_length=64, description="as in the query of `/imports`")
    campaign: str = Field("", max_length=64, description="the same")
    owner: str = Field("", max_length=80, description="the same")
    mapping: dict[str, str] | Annotated[str, Field(pattern="^source:")] = Field({}, description="the same")
    name: str = Field("", description="what to call the delivery; else after its content, so the same leads are known")
    leads: list[Record] = Field(min_length=1, description="field (or header of the source) and value")


@routes.post(
    "/imports/leads", access=IMPORTING, status_code=HTTPStatus.ACCEPTED, problems=(400, 404, 408, 409, 413, 503)
)
def import_leads(
    request: Request,
    response: Response,
    desk: AtDesk,
    caller: ByCaller,
    body: Batch,
    idempotency_key: IdempotencyKey = None,
) -> DeliveryOut:
    """Receives leads as JSON and queues them, as a file of CSV that `original` gives back.

    Each becomes a row, in the order in which they stand; values are judged as those of files.
    """
    content = tables.csv_of(body.leads)
    mapping = body.mapping if isinstance(body.mapping, str) else json.dumps(body.mapping) if body.mapping else ""
    said = {"source": body.source, "campaign": body.campaign, "owner": body.owner, "mapping": mapping}
    wanted = arrivals.granted(desk, caller, Wish(**said, place="body"))
    name = body.name or f"leads-{hashlib.sha256(content).hexdigest()[:16]}.csv"
    asked = arrivals.asked(request, caller, wanted, name, place="body", protocol=BATCH)
    with Turn(desk=desk, caller=caller, key=idempotency_key, target=target(request, name=name, **said)) as turn:
        landed = arrivals.keep(desk, content, asked, turn)
    landed.mark(response)
    return out(known(desk, caller, landed.number))
