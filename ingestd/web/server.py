"""uvicorn, set up for machines that ask often and quickly."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingestd.throttle import network

log = structlog.get_logger()

PROBE = "/livez"
INTRODUCED = "introduced"
"""In the state of a request: to be called as soon as it is known who asks."""
REQUEST_SECONDS = 10.0
"""A connection without a whole request header in so many seconds is closed; uvicorn would wait for ever."""
CONNECTIONS = 100
"""At once; above it requests are answered with 503, but for the one that asks whether this process lives."""
STRANGERS = 25
"""Connections at once from one address that are heard although nobody has said on them who they are."""
STOP_SECONDS = 3

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


@dataclass(kw_only=True)
class Lobby:
    """Connections of strangers by address: one of them must not take the places of all.

    Who comes when there are too many stands in line, unheard, until one of them is known or has gone. So fifty
    colleagues behind one address who come in at once are all let in within the moment that each takes to be known. A
    proxy that is believed brings everybody, and is not counted: to let nobody take its places is its own part.
    """

    most: int = STRANGERS
    """0: no limit"""
    proxies: Collection[str] = ()
    inside: Counter[str] = field(default_factory=Counter)
    lines: dict[str, deque[Callable[[], None]]] = field(default_factory=dict)

    @property
    def in_line(self) -> int:
        """How many stand in line."""
        return sum(map(len, self.lines.values()))

    def enter(self, address: str, turn: Callable[[], None]) -> None:
        """Calls `turn` when the connection may be heard: at once, or later. Pair with `leave` or `give_up`.

        Raises Full when even the line is too long.
        """
        place = network(address)
        if not self.most or address in self.proxies or self.inside[place] < self.most:
            self.inside[place] += 1
            turn()
            return
        line = self.lines.setdefault(place, deque())
        if len(line) >= CONNECTIONS:
            raise Full
        if not line:
            log.warning("web_complaint", told=f"{place} has {self.most} connections and says not who it is")
        line.append(turn)

    def leave(self, address: str) -> None:
        """Counts a connection out that was heard; the next one in its line has its place."""
        place = network(address)
        self.inside[place] -= 1
        if self.inside[place] <= 0:
            del self.inside[place]
        line = self.lines.get(place)
        if line:
            turn = line.popleft()
            self._tidy(place)
            self.inside[place] += 1
            turn()

    def give_up(self, address: str, turn: Callable[[], None]) -> None:
        """Takes a connection out of its line, if it stands there."""
        place = network(address)
        if turn in self.lines.get(place, ()):
            self.lines[place].remove(turn)
            self._tidy(place)

    def _tidy(self, place: str) -> None:
        if not self.lines[place]:
            del self.lines[place]


class Full(Exception):
    """There is no room for a further connection."""


@dataclass(frozen=True, kw_only=True)
class Uncrowded:
    """The application while there are not too many connections. uvicorn's own limit would hold up probes, too."""

    app: ASGIApp
    connections: Collection[object]
    lobby: Lobby

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        full = len(self.connections) - self.lobby.in_line > CONNECTIONS and scope["path"] != PROBE
        if full:
            log.warning("web_complaint", told=f"there are more than {CONNECTIONS} connections")
        await (service_unavailable if full else self.app)(scope, receive, send)  # type: ignore[arg-type]


class Impatient(H11Protocol):
    """HTTP/1.1 that does not wait long for a request, and hears few strangers of one address at once."""

    def __init__(self, *, lobby: Lobby, **facts: Any) -> None:
        super().__init__(**facts)
        self.lobby = lobby
        self.stranger = False
        self.app = Uncrowded(app=self.app, connections=self.connections, lobby=lobby)
        self.app_state = {**self.app_state, INTRODUCED: self._introduced}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The clock runs from here on."""
        super().connection_made(transport)
        transport.pause_reading()
        try:
            self.lobby.enter(self._peer, self._heard)
        except Full:
            transport.write(_FULL)
            transport.close()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Makes room."""
        self.lobby.give_up(self._peer, self._heard)
        self._introduced()
        super().connection_lost(exc)

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def _heard(self) -> None:
        """There is room for a stranger."""
        self.stranger = True
        self.transport.resume_reading()

    def _introduced(self) -> None:
        """Whose connection it is, is known, or there is none any more."""
        if self.stranger:
            self.stranger = False
            self.lobby.leave(self._peer)

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


def serve(
    app: FastAPI,
    listening: socket.socket,
    beat: Callable[[], None],
    *,
    proxies: Sequence[str] = (),
    strangers: int = STRANGERS,
) -> None:
    """Answers until SIGTERM or SIGINT, and beats each second."""
    complaints = logging.getLogger("uvicorn.error")
    complaints.addHandler(_ToJournal(logging.WARNING))
    complaints.propagate = False
    configured(app, beat, proxies=proxies, strangers=strangers).run(sockets=[prompt(listening)])


def configured(
    app: FastAPI, beat: Callable[[], None], *, proxies: Sequence[str] = (), strangers: int = STRANGERS
) -> uvicorn.Server:
    """A server that has not begun; `proxies` are the addresses whose word on whom they speak for is believed.

    `strangers` is how many connections of an address are heard on which nobody has said who they are; 0: any number.
    """

    async def advance() -> None:
        beat()

    config = uvicorn.Config(
        app,
        http=partial(Impatient, lobby=Lobby(most=strangers, proxies=proxies)),  # type: ignore[arg-type]  # makes one
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_keep_alive=5,
        timeout_graceful_shutdown=STOP_SECONDS,
        callback_notify=advance,
        timeout_notify=0,
    )
    return uvicorn.Server(config)
