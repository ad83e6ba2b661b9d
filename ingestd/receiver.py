"""The receiver: one process with every door. Doors open last and close first."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Self

import structlog

from ingestd import certificates, presence
from ingestd.accounts import InMemoryAccounts, Passwords
from ingestd.certificates import Certificate
from ingestd.errors import Misconfigured, Unavailable
from ingestd.feeds import Feeds, accounts
from ingestd.host_keys import host_key
from ingestd.house import House
from ingestd.metrics import Metrics
from ingestd.pipes import Pipes, on_stop, ringer, say_ready
from ingestd.pulse import Pulse
from ingestd.receive.folder import DropFolder, DropOptions, FolderOptions
from ingestd.receive.ftp import FtpDoor, FtpOptions
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.prover import ProofRules, Prover
from ingestd.receive.sftp import SftpDoor, SftpOptions
from ingestd.settings import FtpSettings, SftpSettings, Source
from ingestd.store.ledger import now
from ingestd.store.left_files import LeftFiles
from ingestd.store.proofs import Proofs
from ingestd.throttle import Throttle, ThrottleRules

log = structlog.get_logger()

DESCRIPTORS = 65_536

SOURCES_SECONDS = 1.0
"""Between two looks whether other sources were applied to the store."""
SWEEP_SECONDS = 10.0
"""Between two looks at the files that wait for a proof: companions and files find each other without it."""
STORE_SECONDS = 90.0
"""What one such look may take: a store that is busy answers after a minute at the latest."""
LOOP_SECONDS = 2.0
"""One turn of a door's loop; doors beat each second."""
FILE_SECONDS = 120.0
"""What the drop folder may take for one turn, or one file of it, on a slow network mount."""


@dataclass(kw_only=True)
class Wiring:
    """What each door is connected to beside the landing."""

    pipes: Pipes
    feeds: Feeds
    pulse: Pulse = field(default_factory=Pulse)
    traffic: dict[str, Callable[[], dict[str, int]]] = field(default_factory=dict)
    """door → what it has to do at this moment"""


class Closing:
    """Closes the doors all at once: one that waits for its transfers must not keep the next one open."""

    def __init__(self) -> None:
        self._stops: list[Callable[[], object]] = []

    def callback(self, stop: Callable[..., object], *arguments: Any) -> None:
        """Has a door stopped in the end."""
        self._stops.append(partial(stop, *arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ThreadPoolExecutor(max(1, len(self._stops)), "closing") as threads:
            ends = [threads.submit(stop) for stop in self._stops]
        for end in ends:
            end.result()


def receive(house: House, pipes: Pipes, metrics: Metrics) -> None:
    """Opens the doors, says so, and keeps them open until it is told to stop."""
    _raise_descriptor_limit()
    metrics.open_doors()
    house.spool.remove_left()  # by a receiver that was killed, in whose place this one is
    stopped = threading.Event()
    on_stop(stopped.set)
    wiring = Wiring(pipes=pipes, feeds=Feeds.read(house.engine))
    ring = ringer(pipes.doorbell)
    prover = _prover(house, wiring.feeds, ring)
    landing = Landing(house.spool, house.ledger, ring, prover=prover)
    known = InMemoryAccounts(accounts(wiring.feeds.sources))
    wiring.feeds.on_change(lambda sources: known.replace(accounts(sources)))
    gate = Gate(accounts=known, passwords=Passwords(), throttle=_throttle(house))
    with Closing() as stack:
        doors: dict[str, Any] = {}
        if house.configuration.daemon.ftp.enabled:
            doors |= _open_ftp(house, gate, landing, stack, wiring)
        if house.configuration.daemon.sftp.enabled:
            doors["sftp"] = _open_sftp(house, gate, landing, stack, wiring)
        if house.configuration.daemon.folder.enabled:
            doors["folder"] = _open_folder(house, wiring.feeds.sources, landing, stack, wiring)
        beat = wiring.pulse.loop("sources", allowance=STORE_SECONDS)
        presence.of_process(house, lambda: {door: its() for door, its in wiring.traffic.items()})
        say_ready(pipes, doors, wiring.pulse)
        swept = 0.0
        while not stopped.wait(SOURCES_SECONDS):
            wiring.feeds.look()
            if time.monotonic() - swept >= SWEEP_SECONDS:
                _sweep(prover, landing, beat)
                swept = time.monotonic()
            beat()
        wiring.pulse.loops.clear()  # doors that wait for their last transfers are not stuck


def _prover(house: House, feeds: Feeds, ring: Callable[[], None]) -> Prover:
    proofs = Proofs(engine=house.engine, submit=house.dispatcher.submit)
    return Prover(house.spool, proofs, lambda source: proof_rules(feeds.sources, source), ring)


def proof_rules(sources: Iterable[Source], name: str) -> ProofRules:
    """What a source demands of its files; nothing of one that is not active any more."""
    for source in sources:
        if source.name == name:
            proof = source.proof
            wait = timedelta(hours=proof.wait_hours)
            return ProofRules(demand=proof.demand, trailer=proof.trailer is not None, wait=wait)
    return ProofRules()


def _sweep(prover: Prover, landing: Landing, beat: Callable[[], None]) -> None:
    try:
        prover.sweep(beat)
        landing.settle_doubts()
    except Unavailable as problem:
        log.warning("proofs_not_swept", reason=str(problem))


def _raise_descriptor_limit() -> None:
    """A session takes about three descriptors; the usual soft limit of 1,024 is for programs with select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _throttle(house: House) -> Throttle:
    settings = house.configuration.daemon.throttle
    return Throttle(ThrottleRules(**settings.model_dump()))


def _open_ftp(house: House, gate: Gate, landing: Landing, stack: Closing, wiring: Wiring) -> dict[str, Any]:
    settings = house.configuration.daemon.ftp
    implicit = wiring.pipes.listening("ftps")
    secured = settings.tls != "off" or settings.implicit_port is not None or implicit is not None
    door = FtpDoor(
        _ftp_options(settings),
        landing,
        gate,
        house.places.homes,
        certificate=_certificate(house) if secured else None,
        listening=wiring.pipes.listening("ftp"),
        implicit_listening=implicit,
        beat=wiring.pulse.loop("ftp", allowance=LOOP_SECONDS),
    )
    _start(door, "ftp", settings)
    wiring.traffic["ftp"] = lambda: door.traffic
    stack.callback(door.stop, house.configuration.daemon.stop.transfer_seconds)
    wiring.feeds.on_change(lambda _: door.dismiss_unknown())
    opened = {"ftp": {**_place(door.address), "tls": settings.tls}}
    return {**opened, "ftps": _place(door.implicit_address)} if door.implicit_address else opened


def _start(door: FtpDoor | SftpDoor, section: str, settings: FtpSettings | SftpSettings) -> None:
    try:
        door.start()
    except OSError as problem:
        told = f"{settings.host}:{settings.port} cannot be opened: {problem.strerror or problem}"
        raise Misconfigured("ingestd.toml", f"{section}.port", told) from problem


def _place(address: tuple[str, int]) -> dict[str, Any]:
    return {"host": address[0], "port": address[1]}


def _certificate(house: House) -> Certificate:
    daemon = house.configuration.daemon
    return certificates.certificate(daemon.tls, house.config, house.places.keys, now())


def _open_sftp(house: House, gate: Gate, landing: Landing, stack: Closing, wiring: Wiring) -> dict[str, Any]:
    settings = house.configuration.daemon.sftp
    key = host_key(settings.host_key, house.config, house.places.home)
    options = SftpOptions(
        host_key=key.private,
        host=settings.host,
        port=settings.port,
        max_connections=settings.max_connections,
        idle_timeout=settings.idle_seconds,
    )
    door = SftpDoor(
        options,
        landing,
        gate,
        house.places.homes,
        listening=wiring.pipes.listening("sftp"),
        beat=wiring.pulse.loop("sftp", allowance=LOOP_SECONDS),
    )
    _start(door, "sftp", settings)
    wiring.traffic["sftp"] = lambda: door.traffic
    stack.callback(door.stop, house.configuration.daemon.stop.transfer_seconds)
    wiring.feeds.on_change(lambda _: door.dismiss_unknown())
    return {**_place(door.address), "fingerprint": key.fingerprint}


def _open_folder(
    house: House, sources: Iterable[Source], landing: Landing, stack: Closing, wiring: Wiring
) -> dict[str, Any]:
    settings = house.configuration.daemon.folder
    root = house.places.home / settings.path
    options = DropOptions(
        root=root, after=settings.after, events=settings.watch == "events", scan_seconds=settings.scan_seconds
    )
    beat = wiring.pulse.loop("folder", allowance=settings.scan_seconds + FILE_SECONDS)
    memory = LeftFiles(engine=house.engine)
    folder = DropFolder(options, folder_sources(house, sources), landing, memory=memory, beat=beat)
    wiring.feeds.on_change(lambda changed: folder.replace_sources(folder_sources(house, changed)))
    folder.start()
    wiring.traffic["folder"] = lambda: folder.traffic
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
        tls=settings.tls,
        implicit_port=settings.implicit_port,
        passive_ports=range(first_and_last[0], first_and_last[1] + 1) if first_and_last else None,
        masquerade=settings.masquerade,
        max_connections=settings.max_connections,
        idle_timeout=settings.idle_seconds,
        transfer_timeout=settings.transfer_seconds,
        settle_seconds=settings.settle_seconds,
    )
