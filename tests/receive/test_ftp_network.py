"""The FTP door in networks: NAT, IPv6, strangers at data ports, sockets opened by somebody else, signs of life."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from ingestd.receive.sockets import open_socket
from tests.receive.ftp_wire import ROWS, Wire
from tests.receive.receiving import MemoryLedger, OpenDoor, wait_for


@pytest.fixture(params=["::", "::1"])
def six(request: pytest.FixtureRequest, open_door: Callable[..., OpenDoor]) -> Iterator[Wire]:
    """A session over IPv6, at a door for both kinds or for IPv6 only."""
    wire = Wire(open_door(host=request.param), host="::1").log_in()
    yield wire
    wire.close()


# --- NAT


def test_the_masquerade_is_told_by_pasv_only(open_door: Callable[..., OpenDoor]) -> None:
    """EPSV tells no address: the client takes the one it has (RFC 2428)."""
    wire = Wire(open_door(masquerade="192.0.2.7")).log_in()
    assert wire.say(b"PASV").startswith(b"227 Entering passive mode (192,0,2,7,")
    assert wire.say(b"EPSV").startswith(b"229 Entering extended passive mode (|||")
    assert wire.store(b"x.csv").startswith(b"226")
    wire.close()


def test_data_ports_are_of_the_range(open_door: Callable[..., OpenDoor]) -> None:
    """Which a firewall lets through; one that is taken is passed by, and when all are, it is said."""
    first, second = free_ports()
    door = open_door(passive_ports=range(first, second + 1))
    wires = [Wire(door).log_in() for _ in range(3)]
    with socket.create_server(("127.0.0.1", first)):
        assert wires[0].say(b"EPSV").endswith(b"(|||%d|)." % second)
        assert wires[1].say(b"EPSV").startswith(b"425 No port is free")
        assert wires[1].say(b"PASV").startswith(b"425 No port is free")
    assert wires[1].store(b"x.csv").startswith(b"226")
    for wire in wires:
        wire.close()


def free_ports() -> tuple[int, int]:
    """Two free ports, one after the other."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port: int = one.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port, port + 1
            except (OSError, OverflowError):
                continue


# --- strangers


def test_data_goes_to_the_client_only(wire: Wire) -> None:
    """No bounce, by whichever command, and to no port that belongs to a service (RFC 2577)."""
    for command in (
        b"PORT 10,0,0,1,200,10", b"PORT 127,0,0,2,200,10", b"PORT 127,0,0,1,0,22",
        b"EPRT |1|127.0.0.2|51210|", b"EPRT |1|127.0.0.1|22|",
    ):  # fmt: skip
        assert wire.say(command).startswith(b"501"), command
    assert wire.say(b"STOR x.csv").startswith(b"425")


@pytest.mark.parametrize("tls", [False, True])
def test_a_stranger_gets_no_data_connection(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, audited: list[Any], tls: bool
) -> None:
    """It is dropped without a word to the client, whose transfer goes on."""
    wire = Wire(open_door(tls="offered"))
    if tls:
        wire.protect()
    wire.log_in()
    port = int(wire.say(b"EPSV").split(b"|")[3])
    stranger = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.0.2", 0))
    assert stranger.recv(1) == b""
    stranger.close()
    wait_for(lambda: [line["stranger"] for line in audited if line["event"] == "ftp_data_refused"] == ["127.0.0.2"])
    data = socket.create_connection(("127.0.0.1", port), timeout=10)
    assert wire.say(b"NOOP").startswith(b"200"), "nothing was said in between"
    data.close()
    assert wire.store(b"x.csv").startswith(b"226 delivery 1 ")
    wire.close()


def test_a_data_connection_that_nobody_uses_is_closed_in_silence(open_door: Callable[..., OpenDoor]) -> None:
    """An answer that was not asked for would be taken for that of the next command."""
    wire = Wire(open_door(transfer_timeout=0.1, connect_timeout=0.1)).log_in()
    data = wire.data()
    assert data.recv(1) == b""
    data.close()
    port = int(wire.say(b"EPSV").split(b"|")[3])
    wait_for(lambda: not listens(port))
    assert wire.say(b"PWD").startswith(b"257")
    wire.close()


def listens(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


# --- IPv6


def test_uploads_over_ipv6(six: Wire, ledger: MemoryLedger) -> None:
    """By EPSV and by EPRT, however the client writes its address; PASV has no room for it."""
    assert six.store(b"x.csv").startswith(b"226 delivery 1 ")
    assert six.say(b"PASV").startswith(b"522 ")
    for address in (b"::1", b"0:0:0:0:0:0:0:1"):
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
            assert six.say(b"EPRT |2|%s|%d|" % (address, listening.getsockname()[1])).startswith(b"200")
            data, _ = listening.accept()
        six.say(b"STOR y-%d.csv" % len(address))
        data.sendall(ROWS)
        data.close()
        assert six.reply().startswith(b"226 ")
    assert six.say(b"EPRT |2|::2|51210|").startswith(b"501")
    assert [arrival.peer for arrival in ledger.arrivals] == ["::1"] * 3


def test_a_door_for_both_kinds_takes_ipv4(
    open_door: Callable[..., OpenDoor], ledger: MemoryLedger, audited: list[Any]
) -> None:
    """Whatever the system's setting is; the address is written as one of IPv4, in the audit and in the delivery."""
    wire = Wire(open_door(host="::"), host="127.0.0.1").log_in()
    assert wire.say(b"PASV").startswith(b"227 Entering passive mode (127,0,0,1,")
    assert wire.store(b"x.csv").startswith(b"226")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        high, low = divmod(listening.getsockname()[1], 256)
        assert wire.say(b"PORT 127,0,0,1,%d,%d" % (high, low)).startswith(b"200")
        data, _ = listening.accept()
    wire.say(b"STOR y.csv")
    data.close()
    assert wire.reply().startswith(b"226")
    assert wire.say(b"PORT 127,0,0,2,200,10").startswith(b"501")
    wire.close()
    assert [arrival.peer for arrival in ledger.arrivals] == ["127.0.0.1"] * 2
    assert {line["peer"] for line in audited if "peer" in line} == {"127.0.0.1"}


# --- the door itself


def test_a_door_takes_sockets_that_are_open_already(open_door: Callable[..., OpenDoor]) -> None:
    """As systemd opens them, who may use port 21; a client that was there before the door is served."""
    plain, implicit = open_socket("127.0.0.1", 0), open_socket("127.0.0.1", 0)
    early = socket.create_connection(plain.getsockname(), timeout=10)
    door = open_door(port=1, tls="offered", implicit_port=1, wired={"listening": plain, "implicit_listening": implicit})
    assert door.address == plain.getsockname()
    assert door.door.implicit_address == implicit.getsockname()
    assert early.recv(100) == b"220 ingestd ready\r\n"
    early.close()
    Wire(door, implicit=True).log_in().close()


def test_the_door_says_that_it_lives(open_door: Callable[..., OpenDoor]) -> None:
    """At least once a second while its loop advances; not when it hangs."""
    beats: list[float] = []
    door = open_door(wired={"beat": lambda: beats.append(time.monotonic())})
    wait_for(lambda: len(beats) >= 3)
    assert max(after - before for before, after in pairwise(beats)) < 1.0
    hang, hanging = threading.Event(), threading.Event()
    door.door._desk.post(lambda: (hanging.set(), hang.wait(10)))
    assert hanging.wait(10)
    before = len(beats)
    assert not hang.wait(0.6)
    assert len(beats) == before
    hang.set()
    wait_for(lambda: len(beats) > before)


def test_commands_that_are_too_long_are_refused_whole(wire: Wire) -> None:
    """pyftpdlib obeys what is left of the line."""
    assert wire.say(b"X" * 3000 + b" ABOR").startswith(b"500")
    assert wire.say(b"").startswith(b"500")
    assert wire.say(b"PWD").startswith(b"257")
