"""The web role: API, health and metrics in a process of their own, which answers whatever doors and loads do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta

import structlog

from ingestd import presence
from ingestd.errors import Misconfigured, Unavailable
from ingestd.house import House
from ingestd.metrics import Metrics
from ingestd.pipes import Pipes, on_stop, ringer, say_ready
from ingestd.pulse import Pulse
from ingestd.throttle import Throttle, ThrottleRules
from ingestd.web import app, server
from ingestd.web.api.desk import Desk
from ingestd.web.observer import Observer
from ingestd.worker import publisher_of

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
    # Before it says that it is ready and its loop is expected to advance: this is half a second of work.
    answering = app.build(observer, house.places.metrics, desk_of(house, ringer(pipes.doorbell)))
    pulse = Pulse()
    host, port = listening.getsockname()[:2]
    presence.of_process(house, dict)
    say_ready(pipes, {"http": {"host": host, "port": port}}, pulse)
    beat = pulse.loop("http", allowance=LOOP_SECONDS)
    settings = house.configuration.daemon.http
    server.serve(answering, listening, beat, proxies=settings.proxies, strangers=settings.max_strangers)


def desk_of(house: House, ring: Callable[[], None] = lambda: None) -> Desk:
    """What the API works with; `ring` wakes the workers.

    Its throttle counts as those of the doors do, in a process of its own.
    """
    settings = house.configuration.daemon
    return Desk(
        engine=house.engine,
        ledger=house.ledger,
        dispatcher=house.dispatcher,
        spool=house.spool,
        logs=house.logs,
        schemas=house.schemas,
        ring=ring,
        hand_back=publisher_of(house).publish_again,
        throttle=Throttle(ThrottleRules(**settings.throttle.model_dump())),
        session_lasts=timedelta(hours=settings.http.session_hours),
        body_seconds=settings.http.body_seconds,
        answers_last=timedelta(hours=settings.http.idempotency_hours),
    )


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
