"""The production configuration that the project ships: it can be read, and its FTP door refuses the clear."""

from __future__ import annotations

import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestd import certificates, settings
from ingestd.accounts import InMemoryAccounts, Passwords
from ingestd.feeds import Feeds
from ingestd.house import open_house
from ingestd.pipes import Pipes
from ingestd.receive.ftp import FtpDoor
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receiver import Closing, Wiring, _ftp_options, _open_ftp
from ingestd.settings import Configuration
from ingestd.spool import Spool
from tests.receive.ftp_wire import Wire
from tests.receive.receiving import CHEAP, MemoryLedger, OpenDoor, Rings

ROOT = Path(__file__).parents[1]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy with the production settings in place, and a certificate where they want it."""
    folder = Path(shutil.copytree(ROOT / "config", tmp_path / "config"))
    shutil.move(folder / "ingestd.production.toml", folder / "ingestd.toml")
    made = certificates.self_signed(tmp_path / "made", datetime.now(UTC))
    (folder / "tls").mkdir()
    for name in ("fullchain.pem", "privkey.pem"):
        shutil.copy(made.chain, folder / "tls" / name)
    return folder


@pytest.fixture
def production(config: Path) -> Configuration:
    return settings.read(config)


def test_everything_from_outside_is_protected_and_limited(production: Configuration) -> None:
    daemon = production.daemon
    assert (daemon.ftp.tls, daemon.ftp.host, daemon.sftp.host) == ("required", "::", "::")
    assert daemon.ftp.passive_ports is not None
    assert 0 < daemon.throttle.max_per_address < daemon.ftp.max_connections


def test_its_door_refuses_logins_in_the_clear(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the certificate that it names, relative to the folder; only the port is another."""
    monkeypatch.setenv("INGESTD_FTP__PORT", "0")
    daemon = settings.read(config).daemon
    known = certificates.certificate(daemon.tls, config, tmp_path / "none", datetime.now(UTC))
    landing = Landing(Spool(tmp_path / "spool"), MemoryLedger(), Rings())
    gate = Gate(accounts=InMemoryAccounts(), passwords=Passwords(CHEAP))
    door = FtpDoor(_ftp_options(daemon.ftp), landing, gate, tmp_path / "homes", certificate=known)
    door.start()
    try:
        wire = Wire(OpenDoor(door, tmp_path / "homes"), host="127.0.0.1")
        assert wire.say(b"USER acme") == b"530 This server takes logins over TLS only; send AUTH TLS first."
        assert wire.protect().say(b"USER acme").startswith(b"331")
        wire.close()
    finally:
        door.stop()


def test_the_endpoints_tell_of_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it is offered, with a certificate that is made in the home."""
    monkeypatch.setenv("INGESTD_FTP__PORT", "0")
    monkeypatch.setenv("INGESTD_FTP__IMPLICIT_PORT", "0")
    house = open_house(ROOT / "config", tmp_path / "home")
    landing = Landing(house.spool, MemoryLedger(), Rings())
    gate = Gate(accounts=InMemoryAccounts(), passwords=Passwords(CHEAP))
    wiring = Wiring(pipes=Pipes(lifeline=0, doorbell=0, told=0), feeds=Feeds(engine=house.engine))
    with Closing() as stack:
        stack.callback(house.engine.dispose)
        told = _open_ftp(house, gate, landing, stack, wiring)
        assert (list(told), told["ftp"]["tls"]) == (["ftp", "ftps"], "offered")
        for place in told.values():
            with socket.create_connection((place["host"], place["port"]), timeout=10):
                pass
    assert [path.name for path in house.places.keys.iterdir()] == ["self-signed.pem"]
