"""The downloads of a delivery's log, streamed: the first piece leaves as soon as it is made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any

from fastapi import Depends, Header, Response
from fastapi.responses import StreamingResponse

from ingestd.errors import Missing
from ingestd.ingest import downloads
from ingestd.model import Delivery
from ingestd.store import erasures
from ingestd.store.engine import reading
from ingestd.store.erasures import Rewritten
from ingestd.web.api.deliveries import LOOKING, Number, known
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.routes import Routes

routes = Routes("logs")

CSV, BYTES, JSON = "text/csv", "application/octet-stream", "application/json"
_TYPES: Mapping[str, str] = {"log.csv": CSV, "errors.csv": CSV, "rejected.csv": CSV, "original": BYTES, "summary": JSON}
_KINDS: Mapping[str, str] = {"log.csv": "full", "errors.csv": "errors", "rejected.csv": "rejected"}
_ABOUT: Mapping[str, str] = {
    "log.csv": "The fate of every record, in file order.",
    "errors.csv": "Every error and remark, one a line.",
    "rejected.csv": "The header and the rejected records, byte for byte as they came: ready to mend and send again.",
    "original": "The file as it came.",
    "summary": "Who sent it, how it was read, and the errors grouped.",
}

IfNoneMatch = Annotated[str | None, Header(description="the `ETag` of what you have: 304 when it is still the same")]
Range = Annotated[str | None, Header(description="of the original: `bytes=1000-`")]
IfRange = Annotated[str | None, Header(description="the `ETag` that the range is meant for")]

_SCHEMAS: Mapping[str, dict[str, Any]] = {
    CSV: {"type": "string", "format": "binary"},
    BYTES: {"type": "string", "format": "binary"},
    JSON: {"type": "object"},
}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the client has already, and which part it wants."""

    have: str | None
    part: str | None
    part_of: str | None


def _wish(
    if_none_match: IfNoneMatch = None,
    range: Range = None,  # noqa: A002 - the header's name
    if_range: IfRange = None,
) -> Wish:
    return Wish(have=if_none_match, part=range, part_of=if_range)


AsWished = Annotated[Wish, Depends(_wish)]


def _declare(kind: str) -> None:
    """The two addresses of a download: each of its own, so that a client knows what it gets."""

    def of_pool(
        desk: AtDesk,
        caller: ByCaller,
        number: Number,
        wish: AsWished,
    ) -> Response:
        delivery = desk.ledger.of_pool(number)
        if delivery is None or not caller.may_act_for(delivery.source):
            raise Missing("pool_unknown", f"there is no pool {number}")
        return _answer(desk, delivery, kind, wish)

    def of_delivery(
        desk: AtDesk,
        caller: ByCaller,
        number: Number,
        wish: AsWished,
    ) -> Response:
        return _answer(desk, known(desk, caller, number), kind, wish)

    word = kind.partition(".")[0]
    of_pool.__name__, of_delivery.__name__ = f"get_pool_{word}", f"get_delivery_{word}"
    of_pool.__doc__ = of_delivery.__doc__ = _ABOUT[kind]
    facts: dict[str, Any] = {
        "access": LOOKING,
        "response_class": Response,
        "problems": (404, 409),
        "responses": _answers(kind),
    }
    routes.get(f"/pools/{{number}}/{kind}", **facts)(of_pool)
    routes.get(f"/deliveries/{{number}}/{kind}", **facts)(of_delivery)


def _answers(kind: str) -> dict[int, Any]:
    whole = {"description": "The download", "content": {_TYPES[kind]: {"schema": _SCHEMAS[_TYPES[kind]]}}}
    found: dict[int, Any] = {200: whole, 304: {"description": "You have it already"}}
    if kind == "original":
        part = {"content": {BYTES: {"schema": _SCHEMAS[BYTES]}}}
        found |= {206: {"description": "A part of it", **part}, 416: {"description": "The range is outside of it"}}
    return found


for _kind in _TYPES:
    _declare(_kind)


def _answer(desk: Desk, delivery: Delivery, kind: str, wish: Wish) -> Response:
    with reading(desk.engine) as connection:
        now = erasures.latest(connection, delivery.id)
    tag = _tag(delivery, kind, now)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if wish.have is not None and _has(wish.have, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    wanted = _KINDS.get(kind, kind)
    pieces = downloads.pieces(delivery, wanted, logs=desk.logs, spool=desk.spool, engine=desk.engine)
    media = f"{CSV}; charset=utf-8" if _TYPES[kind] == CSV else _TYPES[kind]
    if kind != "original":
        headers["Content-Disposition"] = f'attachment; filename="delivery-{delivery.id}-{kind}"'
        return StreamingResponse(_begun(pieces), media_type=media, headers=headers)
    headers |= {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="delivery-{delivery.id}"'}
    size = delivery.size if now is None else now.size
    return _original(size, pieces, headers, None if wish.part_of not in (None, tag) else wish.part)


def _has(header: str, tag: str) -> bool:
    """Whether `If-None-Match` names this tag; `*` is any."""
    named = [each.strip().removeprefix("W/") for each in header.split(",")]
    return tag in named or named == ["*"]


def _tag(delivery: Delivery, kind: str, now: Rewritten | None) -> str:
    """Files and logs only change when somebody is anonymised; a log is also written anew in another attempt."""
    if kind == "original":
        return f'"{delivery.sha256 if now is None else now.sha256}"'
    rewritten = "" if now is None else f"-{now.sha256[:16]}"
    return f'"{delivery.id}-{delivery.epoch}-{delivery.state}-{kind}{rewritten}"'


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """With its first piece made: what is wrong with a log shows before the answer says 200."""
    return chain([next(pieces, b"")], pieces)


def _original(size: int, pieces: Iterator[bytes], headers: dict[str, str], part: str | None) -> Response:
    media = _TYPES["original"]
    wanted = None if part is None else asked_range(part, size)
    if wanted is None:
        return StreamingResponse(_begun(pieces), media_type=media, headers={**headers, "Content-Length": str(size)})
    first, last = wanted
    if first > last:
        unfit = {**headers, "Content-Range": f"bytes */{size}"}
        return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=unfit)
    told = {"Content-Range": f"bytes {first}-{last}/{size}", "Content-Length": str(last - first + 1)}
    cut = _begun(cut_out(pieces, first, last + 1))
    return StreamingResponse(cut, HTTPStatus.PARTIAL_CONTENT, media_type=media, headers={**headers, **told})


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """The first and last byte that `Range` asks for; None when it is to be ignored: several ranges, or none at all.

    The first is after the last when nothing of the file is in it.
    """
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many bytes
        return (max(0, size - int(last)), size - 1) if int(last) else (size, size - 1)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < int(first):
        return None
    return (int(first), end) if int(first) < size else (size, size - 1)


def cut_out(pieces: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to before `end` of what comes in pieces."""
    at = 0
    for piece in pieces:
        if at + len(piece) > start:
            yield piece[max(0, start - at) : end - at]
        at += len(piece)
        if at >= end:
            return
