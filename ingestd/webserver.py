"""The web role: health and metrics, in a process of its own, so that it answers whatever the doors and loads do."""

from __future__ import annotations

import socket

import structlog

from ingestd import presence
from ingestd.errors import Misconfigured, Unavailable
from ingestd.house import House
from ingestd.metrics import Metrics
from ingestd.pipes import Pipes, on_stop, say_ready
from ingestd.pulse import Pulse
from ingestd.web import app, server
from ingestd.web.observer import Observer

log = structlog.get_logger()

LOOP_SECONDS = 2.0
"""One turn of the loop; it beats each second."""


def answer(house: House, pipes: Pipes, metrics: Metrics) -> None:
    """Opens the port, says so, and answers until it is told to stop."""
    on_stop(lambda: None)  # uvicorn puts its own handlers in while it runs
    listening = pipes.listening("http") or _listen(house)
    _remember_successes(house, metrics)
    observer = Observer(
        ledger=house.ledger,
        dispatcher=house.dispatcher,
        spool=house.spool,
        storage=house.storage,
        run=house.places.run,
    )
    pulse = Pulse()
    host, port = listening.getsockname()[:2]
    presence.of_process(house, dict)
    say_ready(pipes, {"http": {"host": host, "port": port}}, pulse)
    beat = pulse.loop("http", allowance=LOOP_SECONDS)
    server.serve(app.build(observer, house.places.metrics), listening, beat)


def _listen(house: House) -> socket.socket:
    settings = house.configuration.daemon.http
    try:
        return server.listen(settings.host, settings.port)
    except OSError as problem:
        told = f"{settings.host}:{settings.port} cannot be opened: {problem.strerror or problem}"
        raise Misconfigured("ingestd.toml", "http.port", told) from problem


def _remember_successes(house: House, metrics: Metrics) -> None:
    """Counters begin anew with the daemon, but a feed's last success is older than that."""
    try:
        metrics.succeeded(house.ledger.last_success())
    except Unavailable as problem:
        log.warning("web_store_away", error=str(problem))
