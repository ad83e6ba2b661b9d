"""Around every answer: headers that browsers heed, a line in the log for each request, and bugs that stay our own."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingestd.web import problems

log = structlog.get_logger()

API = "/api/"
UNTOLD = ("/livez", "/readyz", "/metrics", "/static/")
"""What machines ask every few seconds, and what pages bring along."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""A page may set its own; who is asked over TLS says also that it stays so."""
STAY_SECURE = "max-age=31536000"


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, show: problems.Show) -> None:
        self.app = app
        self.show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        begun, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _dress(MutableHeaders(scope=message), scope)
            await send(message)

        scope.setdefault("state", {})
        try:
            app = _refuse_two_lengths if _has_two_lengths(scope) else self.app
            await app(scope, receive, sending)
        except Exception:  # a bug is told to the log; whoever asked learns no more than that it was one
            log.exception("web_fault", path=scope["path"])
            if status:
                raise  # the answer has begun: only a broken connection tells that it is not whole
            told = problems.answer(HTTPStatus.INTERNAL_SERVER_ERROR)
            await self.show(Request(scope), told)(scope, receive, sending)
        if not scope["path"].startswith(UNTOLD):
            _tell(scope, status, time.monotonic() - begun)


def _has_two_lengths(scope: Scope) -> bool:
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}


async def _refuse_two_lengths(scope: Scope, receive: Receive, send: Send) -> None:
    """A proxy may believe the one while we believe the other; what comes next would be a request of somebody else.

    So the connection ends with it (RFC 9112, 6.1).
    """
    told = "the request has both Content-Length and Transfer-Encoding"
    answer = problems.answer(HTTPStatus.BAD_REQUEST, headers={"Connection": "close"}, detail=told)
    await answer(scope, receive, send)


def _dress(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if scope["scheme"] == "https":
        headers.setdefault("Strict-Transport-Security", STAY_SECURE)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """Without the query, which may name people or their numbers."""
    caller: Any = scope["state"].get("caller")
    known = log.bind(
        method=scope["method"],
        path=scope["path"],
        status=int(status),
        seconds=round(seconds, 4),
        caller=caller.actor.name if caller else "",
        peer=scope["client"][0] if scope["client"] else "",
    )
    if scope["path"].startswith(API):
        known.info("api_request")
    else:
        known.info("page_request")
