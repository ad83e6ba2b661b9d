"""`ingestd check`: proves that a daemon could start, without starting one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ingestd import certificates, schemas, settings
from ingestd.errors import IngestdError, Misconfigured
from ingestd.host_keys import read_host_key
from ingestd.house import Places, running
from ingestd.receive.ftp_contexts import Contexts
from ingestd.receive.sockets import open_socket
from ingestd.settings import Configuration
from ingestd.storage import open_storage
from ingestd.store import migrations
from ingestd.store.engine import open_engine, sqlite_url
from ingestd.store.ledger import now

Check = tuple[str, str | None]
"""What was looked at, and what is wrong with it; None when nothing is."""


def run(config: Path, home: Path) -> Iterator[Check]:
    """Every check in the order in which an operator would mend them; stops where the rest makes no sense."""
    config, home = config.resolve(), home.resolve()
    try:
        configuration = settings.read(config)
    except Misconfigured as problem:
        yield "configuration", str(problem)
        return
    yield f"configuration in {config}", None
    templates = sorted({campaign.template or "" for campaign in configuration.organisation.campaign})
    folder = config.parent / "schemas"
    read = [
        _check(f"schema {template or 'lead'}", partial(schemas.read, folder, template or None))
        for template in templates
    ]
    yield from read
    if all(problem is None for _, problem in read):
        yield _check("mappings", partial(schemas.check_mappings, folder, configuration))
    usable = _check(f"home {home}", partial(_writable, home))
    yield usable
    if usable[1] is not None:
        return
    yield _check("database", partial(_database, configuration, home))
    if configuration.daemon.storage.url:
        yield _check(f"storage {configuration.daemon.storage.url}", partial(_storage, configuration, home))
    yield from _secrets(configuration, config)
    if running(Places(home=home)):
        yield "ports are held by the running daemon", None
        return
    for name in ("ftp", "sftp", "http"):
        door = getattr(configuration.daemon, name)
        for port in (door.port, getattr(door, "implicit_port", None)) if door.enabled else ():
            if port is not None:
                yield _check(f"{name} {door.host}:{port}", partial(_bindable, door.host, port))


def _secrets(configuration: Configuration, config: Path) -> Iterator[Check]:
    """Keys of the home are made at the first start, so only configured ones can be wrong."""
    daemon = configuration.daemon
    if daemon.sftp.enabled and daemon.sftp.host_key:
        yield _check("sftp host key", partial(read_host_key, config / daemon.sftp.host_key))
    if daemon.ftp.enabled and daemon.tls.certificate:
        yield _check("certificate", partial(_certificate, configuration, config))


def _check(name: str, look: Callable[[], object]) -> Check:
    try:
        look()
    except (IngestdError, OSError) as problem:
        return name, str(problem)
    return name, None


def _writable(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(home, os.W_OK | os.X_OK):
        raise Misconfigured(str(home), "home", "cannot be written to")


def _database(configuration: Configuration, home: Path) -> None:
    url = configuration.daemon.store.url or sqlite_url(home)
    engine = open_engine(url)
    try:
        migrations.check(engine)
    finally:
        engine.dispose()


def _storage(configuration: Configuration, home: Path) -> None:
    open_storage(configuration.daemon.storage, home).check()


def _certificate(configuration: Configuration, config: Path) -> None:
    Contexts.of(certificates.configured(configuration.daemon.tls, config, now()))


def _bindable(host: str, port: int) -> None:
    with open_socket(host, port):
        pass
