"""Logins: argon2id, the same time for everybody, never too many checks at once."""

from __future__ import annotations

import threading
import time

import pytest

from ingestd.accounts import Account, Argon2Cost, InMemoryAccounts, Passwords, hash_password

CHEAP = Argon2Cost(time=1, memory_kib=8, threads=1)


@pytest.fixture
def account() -> Account:
    return Account(login="acme", source="acme", password_hash=hash_password("right", CHEAP), limit=1)


def test_the_right_password_and_no_other(account: Account) -> None:
    """Every byte counts."""
    passwords = Passwords(CHEAP)
    assert passwords.verify(account, "right")
    for wrong in ("", "Right", "right ", "wrong"):
        assert not passwords.verify(account, wrong)


def test_nobody_gets_in_without_an_account() -> None:
    """Not even with the password that the hash for unknown logins is made of."""
    assert not Passwords(CHEAP).verify(None, "")


def test_unknown_logins_are_hashed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the clock would tell which logins exist."""
    passwords = Passwords(CHEAP)
    checked: list[str] = []
    monkeypatch.setattr(passwords, "_hasher", type("H", (), {"verify": lambda _, e, __: checked.append(e)})())
    assert not passwords.verify(None, "x")
    assert checked == [passwords._nobody]


def test_the_default_cost_is_the_one_of_rfc_9106() -> None:
    """Its second recommended option, and argon2id."""
    assert hash_password("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_broken_hash_lets_nobody_in(account: Account) -> None:
    """What an operator mistyped is no password."""
    broken = Account(login="x", source="x", password_hash="$argon2id$nonsense", limit=1)
    assert not Passwords(CHEAP).verify(broken, "")


def test_passwords_that_are_not_utf8_work() -> None:
    """FTP hands them over with surrogates in place of the bytes."""
    latin = "p\udce4ss"
    account = Account(login="x", source="x", password_hash=hash_bytes(b"p\xe4ss"), limit=1)
    assert Passwords(CHEAP).verify(account, latin)


def hash_bytes(password: bytes) -> str:
    return CHEAP.hasher().hash(password)


def test_no_more_than_so_many_checks_at_once(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 64 MiB; a thousand logins at once must not."""
    passwords, now, most, lock = Passwords(CHEAP, at_once=2), [0], [0], threading.Lock()

    class Slow:
        def verify(self, *_: object) -> None:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= 1

    monkeypatch.setattr(passwords, "_hasher", Slow())
    threads = [threading.Thread(target=passwords.verify, args=(account, "x")) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [2]


def test_an_account_is_open_for_its_doors_only(account: Account) -> None:
    """And for none when it is disabled."""
    closed = Account(login="x", source="x", password_hash="", limit=1, enabled=False)
    sftp_only = Account(login="x", source="x", password_hash="", limit=1, protocols=frozenset({"sftp"}))
    assert account.may_use("ftp")
    assert not closed.may_use("ftp")
    assert not sftp_only.may_use("ftp")


def test_accounts_are_found_by_their_login(account: Account) -> None:
    """And nothing else is."""
    accounts = InMemoryAccounts([account])
    assert accounts.find("acme") is account
    assert accounts.find("Acme") is None
