"""What flows over a control connection: no client fills our memory, stays for ever, or takes the others' turns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingestd.receive import ftp_flow, ftp_patience
from tests.receive.ftp_wire import Wire
from tests.receive.receiving import OpenDoor, wait_for


@pytest.fixture(params=["off", "offered"])
def either(request: pytest.FixtureRequest, open_door: Callable[..., OpenDoor]) -> Iterator[Wire]:
    """A session that is logged in, in the clear or by TLS."""
    wire = Wire(open_door(tls=request.param, login_timeout=0.5))
    if request.param != "off":
        wire.protect()
    wire.log_in()
    yield wire
    wire.close()


def flood(
    wire: Wire, lines: bytes, most: int = 50_000_000, full: Callable[[], object] = lambda: True, seconds: float = 30.0
) -> int:
    """Bytes that the door took of a client that reads nothing, until it takes no more because it is `full`, or is gone.

    A door that takes none for a while may also have had no turn: other tests run at the same time. The client's buffer
    stays as the kernel made it: one shrunk in a connection that is open drops what it had offered to take, with the
    acknowledgements in it, and then neither side sends for minutes.
    """
    wire.control.settimeout(0.3)
    sent, deadline = 0, time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while sent < most and time.monotonic() < deadline:
            try:
                sent += wire.control.send(lines)
            except TimeoutError:
                if full():
                    break
    return sent


def _rests(door: OpenDoor) -> bool:
    """Whether its thread does nothing; by the thread's own clock, since other tests run at the same time."""
    ident = door.door._thread.ident
    assert ident is not None
    clock = time.pthread_getcpuclockid(ident)
    before = time.clock_gettime(clock)
    time.sleep(0.2)
    return time.clock_gettime(clock) - before < 0.01


def only_session(door: OpenDoor) -> Any:
    (session,) = door.door._desk.sessions
    return session


def test_a_client_that_does_not_read_is_not_read_from(door: OpenDoor) -> None:
    """Its replies would fill the memory; what the kernel keeps is bounded. When it reads, it goes on."""
    wire = Wire(door).log_in()
    session = only_session(door)
    sent = flood(wire, b"FEAT\r\n" * 1000, full=lambda: session._stuffed)
    assert session._stuffed
    assert sent < 20_000_000
    assert session._unsent() < 2 * ftp_flow._MOST_UNSENT
    assert len(session.ac_in_buffer) < 2 * session.ac_in_buffer_size
    wire.control.settimeout(10)
    while session._stuffed:
        wire.control.recv(65_536)
    wire.close()


def test_the_others_are_served_meanwhile_and_no_turn_is_wasted(door: OpenDoor) -> None:
    """A session that is not read from must not wake the loop up again and again."""
    wire = Wire(door).log_in()
    session = only_session(door)
    other = Wire(door).log_in()
    flood(wire, b"FEAT\r\n" * 1000, full=lambda: session._stuffed)
    wait_for(lambda: _rests(door), 30.0)  # when it has answered what the kernel keeps for the client
    assert other.say(b"NOOP").startswith(b"200")
    wire.close()
    other.close()


def test_a_client_that_does_not_read_its_last_words_is_closed(
    open_door: Callable[..., OpenDoor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session would count for ever."""
    monkeypatch.setattr(ftp_flow, "_FAREWELL", 0.2)
    monkeypatch.setattr(ftp_patience, "MOST_BEFORE_LOGIN", 1_000_000)
    for options in ({"login_timeout": 0.5}, {"idle_timeout": 0.5}):
        door = open_door(**options)
        wire = Wire(door)
        flood(wire, b"FEAT\r\n" * 1000)
        wait_for(lambda door=door: not door.door._desk.sessions, 30.0)
        wire.close()


def test_commands_sent_ahead_are_all_answered(either: Wire) -> None:
    """In order, also when they are more than a turn takes and than one TLS record holds."""
    either.control.sendall(b"NOOP\r\nPWD\r\n" * 3_000)
    assert [either.reply()[:3] for _ in range(6_000)] == [b"200", b"257"] * 3_000


def test_a_line_may_come_in_pieces(wire: Wire) -> None:
    """Also its end; one that is too long is answered once, wherever it was cut."""
    for pieces in ((b"NO", b"OP\r", b"\n"), (b"X" * 3_000, b"X" * 3_000 + b"\r", b"\nNOOP\r\n")):
        for piece in pieces:
            wire.control.sendall(piece)
            time.sleep(0.02)  # so that it is read by itself; the test holds without, too
    assert [wire.reply()[:3] for _ in range(3)] == [b"200", b"500", b"200"]


def test_a_few_commands_a_turn(door: OpenDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the others have theirs, so that a NOOP does not wait for thousands of a neighbour."""
    order: list[str] = []
    first, second = Wire(door).log_in(), Wire(door).log_in()
    session = next(each for each in door.door._desk.sessions if each.remote_port == first.control.getsockname()[1])
    noop = type(session).ftp_NOOP

    def slow(self: Any, line: str) -> None:
        order.append("first" if self is session else "second")
        time.sleep(0.002)
        noop(self, line)

    monkeypatch.setattr(type(session), "ftp_NOOP", slow)
    first.control.sendall(b"NOOP\r\n" * 500)
    wait_for(lambda: order)
    assert second.say(b"NOOP").startswith(b"200")
    assert order.index("second") < 100
    assert [first.reply()[:3] for _ in range(500)] == [b"200"] * 500
    first.close()
    second.close()


def test_many_commands_without_a_login_end_the_session(door: OpenDoor, audited: list[Any]) -> None:
    """Whatever they are."""
    wire = Wire(door)
    wire.control.sendall(b"NOOP\r\n" * 1_000)
    answers = [wire.reply() for _ in range(ftp_patience.MOST_BEFORE_LOGIN)]
    assert {answer[:3] for answer in answers} == {b"200"}
    assert wire.reply() == b"421 You sent 50 commands without a login."
    wait_for(lambda: not door.door._desk.sessions)
    assert [line["reason"] for line in audited if line["event"] == "ftp_flood"] == [
        "You sent 50 commands without a login"
    ]
    wire.close()


def test_many_wrong_commands_in_a_row_end_the_session(door: OpenDoor) -> None:
    """Of a partner; one that looks for a file again and again does nothing wrong."""
    wire = Wire(door).log_in()
    for _ in range(ftp_patience.MOST_USELESS + 10):
        assert wire.say(b"RETR results/not-yet").startswith(b"550")
    for command in (b"X", b"SIZE", b" ", b"", b"A" * 3_000) * (ftp_patience.MOST_USELESS // 5):
        assert wire.say(command)[:2] == b"50"
    assert wire.reply() == b"421 You sent 100 wrong commands in a row."
    wire.close()


def test_refused_commands_are_told_one_by_one_up_to_a_number(door: OpenDoor, audited: list[Any]) -> None:
    """The others are counted, so that a session cannot flood the log."""
    wire = Wire(door).log_in()
    for _ in range(ftp_patience.MOST_TOLD + 30):
        wire.say(b"RETR results/not-yet")
    wire.say(b"QUIT")
    wait_for(lambda: audited[-1]["event"] == "ftp_session_end")
    told = [line["event"] for line in audited]
    assert told.count("ftp_command_refused") == ftp_patience.MOST_TOLD
    assert [line["count"] for line in audited if line["event"] == "ftp_commands_refused"] == [30]
    wire.close()
