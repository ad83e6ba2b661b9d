"""The receiver: one process with every door. Doors open last and close first."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from ingestd import certificates
from ingestd.accounts import Account, InMemoryAccounts, Passwords
from ingestd.certificates import Certificate
from ingestd.errors import Misconfigured
from ingestd.house import House
from ingestd.pipes import Pipes, on_stop, ringer, say_ready
from ingestd.receive.folder import DropFolder, FolderOptions
from ingestd.receive.ftp import FtpDoor, FtpOptions
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.settings import FtpSettings, Source
from ingestd.store import organisation
from ingestd.store.engine import reading
from ingestd.store.ledger import now
from ingestd.throttle import Throttle, ThrottleRules

DESCRIPTORS = 65_536


def receive(house: House, pipes: Pipes) -> None:
    """Opens the doors, says so, and keeps them open until it is told to stop."""
    _raise_descriptor_limit()
    stopped = threading.Event()
    on_stop(stopped.set)
    landing = Landing(house.spool, house.ledger, ringer(pipes.doorbell))
    with reading(house.engine) as connection:
        sources = organisation.all_sources(connection)
    with ExitStack() as stack:
        doors: dict[str, Any] = {}
        gate = Gate(accounts=InMemoryAccounts(accounts(sources)), passwords=Passwords(), throttle=_throttle(house))
        if house.configuration.daemon.ftp.enabled:
            doors["ftp"] = _open_ftp(house, gate, landing, stack)
        if house.configuration.daemon.folder.enabled:
            doors["folder"] = _open_folder(house, sources, landing, stack)
        say_ready(pipes.ready, doors)
        stopped.wait()


def _raise_descriptor_limit() -> None:
    """A session takes about three descriptors; the usual soft limit of 1,024 is for programs with select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def accounts(sources: Iterable[Source]) -> list[Account]:
    """Every login of every source."""
    return [
        Account(
            login=login.login,
            source=source.name,
            password_hash=login.password_hash or "",
            public_keys=login.public_keys,
            protocols=frozenset(login.protocols),
            limit=source.limits.max_file_bytes,
        )
        for source in sources
        for login in source.login
    ]


def _throttle(house: House) -> Throttle:
    settings = house.configuration.daemon.throttle
    return Throttle(ThrottleRules(**settings.model_dump()))


def _open_ftp(house: House, gate: Gate, landing: Landing, stack: ExitStack) -> dict[str, Any]:
    settings = house.configuration.daemon.ftp
    certificate = _certificate(house) if settings.tls != "off" or settings.implicit_port is not None else None
    door = FtpDoor(_ftp_options(settings), landing, gate, house.places.homes, certificate=certificate)
    try:
        door.start()
    except OSError as problem:
        where = f"{settings.host}:{settings.port}"
        raise Misconfigured(
            "ingestd.toml", "ftp.port", f"{where} cannot be opened: {problem.strerror or problem}"
        ) from problem
    stack.callback(door.stop)
    host, port = door.address
    implicit = {"implicit_port": door.implicit_address[1]} if door.implicit_address else {}
    return {"host": host, "port": port, "tls": settings.tls, **implicit}


def _certificate(house: House) -> Certificate:
    daemon = house.configuration.daemon
    return certificates.certificate(daemon.tls, house.config, house.places.keys, now())


def _open_folder(house: House, sources: Iterable[Source], landing: Landing, stack: ExitStack) -> dict[str, Any]:
    settings = house.configuration.daemon.folder
    root = house.places.home / settings.path
    options = {
        source.name: FolderOptions(limit=source.limits.max_file_bytes, quiet_seconds=settings.quiet_seconds)
        for source in sources
    }
    folder = DropFolder(root, options, landing, scan_seconds=settings.scan_seconds)
    folder.start()
    stack.callback(folder.stop)
    return {"path": str(root)}


def _ftp_options(settings: FtpSettings) -> FtpOptions:
    first_and_last = settings.passive_ports
    return FtpOptions(
        host=settings.host,
        port=settings.port,
        tls=settings.tls,
        implicit_port=settings.implicit_port,
        passive_ports=range(first_and_last[0], first_and_last[1] + 1) if first_and_last else None,
        masquerade=settings.masquerade,
        max_connections=settings.max_connections,
        idle_timeout=settings.idle_seconds,
        transfer_timeout=settings.transfer_seconds,
    )
