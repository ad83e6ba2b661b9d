"""Who may send: logins, and passwords kept as argon2id hashes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


@dataclass(frozen=True, kw_only=True)
class Account:
    """One login of a source."""

    login: str
    source: str
    password_hash: str
    """argon2id, encoded; the parameters are part of it; empty: no password lets in"""
    limit: int
    """bytes a file may have"""
    enabled: bool = True
    protocols: frozenset[str] = frozenset({"ftp", "ftps", "sftp", "http"})
    public_keys: tuple[str, ...] = ()
    """OpenSSH public keys that let in by SFTP"""

    def may_use(self, protocol: str) -> bool:
        """True when this login is open for a door."""
        return self.enabled and protocol in self.protocols


class Accounts(Protocol):
    """Where logins are looked up."""

    def find(self, login: str) -> Account | None:
        """The account of a login, if there is one. May raise Unavailable."""


class InMemoryAccounts:
    """Accounts that were read from the configuration or the store at once, and are read again when it changes."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.replace(accounts)

    def replace(self, accounts: Iterable[Account]) -> None:
        """Have other accounts from now on; in one step, so it may be called while others look."""
        self._accounts = {account.login: account for account in accounts}

    def find(self, login: str) -> Account | None:
        """The account of a login, if there is one."""
        return self._accounts.get(login)


@dataclass(frozen=True, kw_only=True)
class Argon2Cost:
    """What one hash costs. The default is the second recommended option of RFC 9106, for little memory."""

    time: int = 3
    memory_kib: int = 65_536
    threads: int = 4

    def hasher(self) -> PasswordHasher:
        """The argon2id hasher with this cost."""
        return PasswordHasher(time_cost=self.time, memory_cost=self.memory_kib, parallelism=self.threads)


class Passwords:
    """Checks passwords, at most `at_once` at a time: each check takes memory and processors from the loading."""

    def __init__(self, cost: Argon2Cost | None = None, *, at_once: int = 2) -> None:
        self._hasher = (cost or Argon2Cost()).hasher()
        self._turn = threading.BoundedSemaphore(at_once)
        # Checked for unknown logins, so that they take as long as known ones and cannot be told apart by the clock.
        self._nobody = self._hasher.hash("")

    def verify(self, account: Account | None, password: str) -> bool:
        """True when the password is the account's. Takes as long for an account that is not there."""
        encoded = (account.password_hash if account else "") or self._nobody
        with self._turn:
            try:
                # FTP's come decoded with `surrogateescape`, so that every byte counts.
                self._hasher.verify(encoded, password.encode("utf-8", "surrogateescape"))
            except (VerificationError, InvalidHashError):
                return False
        return account is not None and bool(account.password_hash)


def hash_password(password: str, cost: Argon2Cost | None = None) -> str:
    """The argon2id hash of a password, as it is kept in the configuration."""
    return (cost or Argon2Cost()).hasher().hash(password)
