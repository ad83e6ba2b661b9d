"""The gate before every door: who is let in, shared by FTP, FTPS and SFTP so that no door is an easier one."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingestd.accounts import Account, Accounts, Passwords
from ingestd.receive.open_files import OpenFiles
from ingestd.throttle import Throttle


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A login that was not let in."""

    reason: str
    """for the audit; a client is told only that the login failed, or that it is banned"""
    delay: float = 0.0
    """seconds to wait before it is answered"""
    banned: str = ""
    """what a banned client is told; empty when it is not banned"""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Accounts, passwords and the throttle. Safe to use from several threads."""

    accounts: Accounts
    passwords: Passwords
    throttle: Throttle = field(default_factory=Throttle)
    open_files: OpenFiles = field(default_factory=OpenFiles)

    def check(self, login: str, password: str, *, protocol: str, address: str) -> Account | Refused:
        """Look at a password: slow, so not on a loop. Raises Unavailable when logins cannot be looked up."""
        if banned := self.throttle.refusal(address, login):
            return Refused(reason="banned", banned=banned)
        if wait := self.throttle.too_soon(address, login):
            return Refused(reason="too soon after a wrong password", delay=wait)
        account = self.accounts.find(login)
        if not self.passwords.verify(account, password) or account is None:
            return self.failed(login, address=address, reason="wrong login or password")
        return self._let_in(account, protocol, address)

    def check_key(self, login: str, key: str, *, protocol: str, address: str) -> Account | Refused:
        """Look whether a public key, as `<type> <base64>`, lets a login in; the client still has to prove it has it.

        A key that is not known is no failure for the throttle: clients offer every key they have.
        """
        if banned := self.throttle.refusal(address, login):
            return Refused(reason="banned", banned=banned)
        account = self.accounts.find(login)
        known = {tuple(line.split()[:2]) for line in account.public_keys} if account else set()
        if account is None or tuple(key.split()[:2]) not in known:
            return Refused(reason="unknown key")
        if not account.may_use(protocol):
            return Refused(reason=f"the login is not open for {protocol}")
        return account

    def failed(self, login: str, *, address: str, reason: str) -> Refused:
        """Note a login that failed."""
        return Refused(reason=reason, delay=self.throttle.failed(address, login))

    def _let_in(self, account: Account, protocol: str, address: str) -> Account | Refused:
        if not account.may_use(protocol):
            # Answered as a wrong password is: a guesser must not learn that it was the right one.
            return self.failed(account.login, address=address, reason=f"the login is not open for {protocol}")
        self.throttle.succeeded(address, account.login)
        return account
