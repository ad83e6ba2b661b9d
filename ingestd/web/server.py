"""uvicorn, set up for machines that ask often and quickly."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger()

REQUEST_SECONDS = 10.0
"""A connection without a whole request header in so many seconds is closed; uvicorn would wait for ever."""
CONNECTIONS = 100
"""At once; above it requests are answered with 503."""
STOP_SECONDS = 3


class Impatient(H11Protocol):
    """HTTP/1.1 that does not wait long for a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The clock runs from here on."""
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        """And again after each answer."""
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        self.loop.call_later(REQUEST_SECONDS, self._give_up, self.cycle)

    def _give_up(self, before: object) -> None:
        if self.cycle is before and not self.transport.is_closing():
            self.transport.close()


class _ToJournal(logging.Handler):
    """uvicorn's own complaints as events, so that the log stays one object a line."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("web_complaint", told=record.getMessage(), exc_info=record.exc_info or None)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 too. Raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return prompt(socket.create_server((host, port), family=family, dualstack_ipv6=host == "::", backlog=128))


def prompt(listening: socket.socket) -> socket.socket:
    """Has every connection send what it has at once, also one that systemd has opened the port for.

    asyncio does so only for sockets that were made with the number of TCP. Without it the body of an answer waited
    40 ms until the client had acknowledged its head.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(app: FastAPI, listening: socket.socket, beat: Callable[[], None], *, proxies: Sequence[str] = ()) -> None:
    """Answers until SIGTERM or SIGINT, and beats each second."""
    complaints = logging.getLogger("uvicorn.error")
    complaints.addHandler(_ToJournal(logging.WARNING))
    complaints.propagate = False
    configured(app, beat, proxies=proxies).run(sockets=[prompt(listening)])


def configured(app: FastAPI, beat: Callable[[], None], *, proxies: Sequence[str] = ()) -> uvicorn.Server:
    """A server that has not begun; `proxies` are the addresses whose word on whom they speak for is believed."""

    async def advance() -> None:
        beat()

    config = uvicorn.Config(
        app,
        http=Impatient,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=STOP_SECONDS,
        callback_notify=advance,
        timeout_notify=0,
    )
    return uvicorn.Server(config)
