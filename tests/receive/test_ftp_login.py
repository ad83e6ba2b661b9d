"""Logging in by FTP: wrong passwords cost time and end in a ban, and nobody waits for another's hash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ingestd.accounts import Account, InMemoryAccounts, Passwords, hash_password
from ingestd.receive.gate import Gate
from ingestd.throttle import Throttle, ThrottleRules
from tests.receive.ftp_wire import Wire
from tests.receive.receiving import CHEAP, LIMIT, PASSWORD, MemoryLedger, OpenDoor, wait_for


def try_in(wire: Wire, login: bytes, password: bytes = b"wrong") -> tuple[bytes, float]:
    """The answer to a login, and the seconds it took."""
    wire.say(b"USER " + login)
    began = time.monotonic()
    return wire.say(b"PASS " + password), time.monotonic() - began


@pytest.fixture
def strict(gate: Gate) -> Gate:
    """Bans after four wrong passwords, whose answers come after 0.05, 0.1, 0.2 and 0.4 seconds."""
    rules = ThrottleRules(delay_seconds=0.05, failures=4, ban_seconds=600)
    return replace(gate, throttle=Throttle(rules))


def test_wrong_passwords_are_answered_later_each_time_and_end_in_a_ban(
    open_door: Callable[..., OpenDoor], strict: Gate, audited: list[Any]
) -> None:
    """Whatever session they come by; then the address is not even let in."""
    door = open_door(gate=strict, max_login_attempts=100)
    wire = Wire(door, source="127.0.0.2")
    took = []
    for _ in range(4):
        answer, seconds = try_in(wire, b"acme")
        assert answer == b"530 Authentication failed."
        took.append(seconds)
    assert all(seconds >= least for seconds, least in zip(took, (0.05, 0.1, 0.2, 0.4), strict=True))
    answer, _ = try_in(wire, b"acme", PASSWORD.encode())
    assert answer.startswith(b"530 Authentication failed: too many wrong passwords; try again in 10 minutes.")
    assert wire.replies.readline() == b""
    wire.close()
    again = Wire(door, source="127.0.0.2")
    assert again.greeting.startswith(b"421 too many wrong passwords from your address")
    again.close()
    assert audited[-1]["event"] == "ftp_session_refused"


def test_a_ban_meets_nobody_else(open_door: Callable[..., OpenDoor], strict: Gate) -> None:
    """Not another login, not another address, and not the partner from where it came in before."""
    door = open_door(gate=strict, max_login_attempts=100)
    Wire(door, source="127.0.0.3").log_in().close()
    attacker = Wire(door, source="127.0.0.2")
    for _ in range(4):
        try_in(attacker, b"acme")
    attacker.close()
    stranger = Wire(door, source="127.0.0.4")
    answer, _ = try_in(stranger, b"acme", PASSWORD.encode())
    assert answer.startswith(b"530 Authentication failed: too many wrong passwords")
    stranger.close()
    Wire(door, source="127.0.0.4").log_in(b"bravo").close()
    Wire(door, source="127.0.0.3").log_in(b"acme").close()


def test_a_wrong_password_holds_up_only_its_own_session(open_door: Callable[..., OpenDoor], gate: Gate) -> None:
    """The answer waits, nothing else does."""
    slow = replace(gate, throttle=Throttle(ThrottleRules(delay_seconds=30.0, longest_delay_seconds=30.0)))
    door = open_door(gate=slow)
    guessing, other = Wire(door), Wire(door, source="127.0.0.2")
    guessing.say(b"USER acme")
    guessing.control.sendall(b"PASS wrong\r\n")
    assert other.log_in().say(b"NOOP").startswith(b"200")
    guessing.close()
    other.close()
    wait_for(lambda: not door.door._desk.sessions)


def test_twenty_logins_at_full_cost_do_not_hold_up_others(open_door: Callable[..., OpenDoor], gate: Gate) -> None:
    """Their hashes are made in threads. The bound is generous, for a busy machine; a hash on the loop breaks it."""
    account = Account(login="acme", source="acme", password_hash=hash_password(PASSWORD), limit=LIMIT)
    door = open_door(gate=replace(gate, accounts=InMemoryAccounts([account]), passwords=Passwords()))
    other = Wire(door).log_in()
    logins = [Wire(door) for _ in range(20)]
    for wire in logins:
        wire.say(b"USER acme")
        wire.control.sendall(b"PASS " + PASSWORD.encode() + b"\r\n")
    answered = threading.Event()
    watch = threading.Thread(target=lambda: ([wire.reply() for wire in logins], answered.set()))
    watch.start()
    waits = []
    while not answered.is_set():
        began = time.monotonic()
        assert other.say(b"NOOP").startswith(b"200")
        waits.append(time.monotonic() - began)
    watch.join()
    assert max(waits) < 1, f"the longest of {len(waits)}"
    assert len(waits) > 20
    for wire in (*logins, other):
        wire.close()


# --- sessions whose login is no longer there


def test_sessions_of_a_login_that_is_gone_or_changed_end(
    open_door: Callable[..., OpenDoor], gate: Gate, accounts: InMemoryAccounts
) -> None:
    """After a reload; those whose login is as it was, and those that have not logged in, stay."""
    door = open_door()
    gone, changed, same, nobody = Wire(door).log_in(b"bravo"), Wire(door).log_in(b"acme2"), Wire(door), Wire(door)
    same.log_in(b"acme")
    acme, acme2 = accounts.find("acme"), accounts.find("acme2")
    assert acme is not None
    assert acme2 is not None
    accounts.replace([acme, replace(acme2, limit=5)])
    door.door.dismiss_unknown()
    for wire in (gone, changed):
        assert wire.reply() == b"421 Your login was changed; log in again."
        assert wire.replies.readline() == b""
    for wire in (same, nobody):
        assert wire.say(b"NOOP").startswith(b"200")
    for wire in (gone, changed, same, nobody):
        wire.close()


def test_a_dismissed_session_finishes_its_transfer(
    open_door: Callable[..., OpenDoor], accounts: InMemoryAccounts, ledger: MemoryLedger
) -> None:
    """The file had begun to come under a login that was good."""
    door = open_door()
    wire = Wire(door).log_in()
    data = wire.begin(b"STOR x.csv")
    data.sendall(b"first,")
    accounts.replace([])
    door.door.dismiss_unknown()
    wait_for(lambda: any(session._unwanted for session in door.door._desk.sessions))
    data.sendall(b"last")
    data.close()
    assert wire.reply().startswith(b"226 delivery 1 received: 10 bytes")
    assert wire.reply().startswith(b"421 Your login was changed")
    wire.close()


class ChangedMeanwhile(Passwords):
    """An operator reloads the sources while a password is being looked at."""

    accounts: InMemoryAccounts

    def verify(self, account: Account | None, password: str) -> bool:
        self.accounts.replace([])
        return super().verify(account, password)


def test_a_login_that_is_taken_away_meanwhile_does_not_come_in(
    open_door: Callable[..., OpenDoor], gate: Gate, accounts: InMemoryAccounts, audited: list[Any]
) -> None:
    """No reload would find its session afterwards."""
    passwords = ChangedMeanwhile(CHEAP)
    passwords.accounts = accounts
    wire = Wire(open_door(gate=replace(gate, passwords=passwords)))
    answer, _ = try_in(wire, b"acme", PASSWORD.encode())
    assert answer.startswith(b"530")
    wire.close()
    assert [line["reason"] for line in audited if line["event"] == "ftp_login_refused"] == [
        "the login was changed meanwhile"
    ]
