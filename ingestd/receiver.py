"""The receiver: one process with every door. Doors open last and close first."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from ingestd.accounts import Account, InMemoryAccounts, Passwords
from ingestd.errors import Misconfigured
from ingestd.house import House
from ingestd.pipes import Pipes, on_stop, ringer, say_ready
from ingestd.receive.folder import DropFolder, DropOptions, FolderOptions
from ingestd.receive.ftp import FtpDoor, FtpOptions
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.settings import FtpSettings, Source
from ingestd.store import organisation
from ingestd.store.engine import reading
from ingestd.store.left_files import LeftFiles
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
    door = FtpDoor(_ftp_options(settings), landing, gate, house.places.homes)
    try:
        door.start()
    except OSError as problem:
        where = f"{settings.host}:{settings.port}"
        raise Misconfigured(
            "ingestd.toml", "ftp.port", f"{where} cannot be opened: {problem.strerror or problem}"
        ) from problem
    stack.callback(door.stop)
    host, port = door.address
    return {"host": host, "port": port}


def _open_folder(house: House, sources: Iterable[Source], landing: Landing, stack: ExitStack) -> dict[str, Any]:
    settings = house.configuration.daemon.folder
    root = house.places.home / settings.path
    options = DropOptions(
        root=root, after=settings.after, events=settings.watch == "events", scan_seconds=settings.scan_seconds
    )
    folder = DropFolder(options, folder_sources(house, sources), landing, memory=LeftFiles(engine=house.engine))
    folder.start()
    stack.callback(folder.stop)
    return {"path": str(root)}


def folder_sources(house: House, sources: Iterable[Source]) -> dict[str, FolderOptions]:
    """What the drop folder does for each source."""
    quiet = house.configuration.daemon.folder.quiet_seconds
    return {
        source.name: FolderOptions(
            limit=source.limits.max_file_bytes,
            quiet_seconds=quiet,
            demand=source.proof.demand and source.proof.trailer is None,  # a trailer proves the file when it is read
            wait_hours=source.proof.wait_hours,
        )
        for source in sources
    }


def _ftp_options(settings: FtpSettings) -> FtpOptions:
    first_and_last = settings.passive_ports
    return FtpOptions(
        host=settings.host,
        port=settings.port,
        passive_ports=range(first_and_last[0], first_and_last[1] + 1) if first_and_last else None,
        masquerade=settings.masquerade,
        max_connections=settings.max_connections,
        idle_timeout=settings.idle_seconds,
    )
