"""Logging in by FTP: passwords are checked off the loop, and answered as late as the gate says."""

from __future__ import annotations

from concurrent.futures import Future

from ingestd.accounts import Account
from ingestd.receive import names
from ingestd.receive.ftp_control import Control
from ingestd.receive.gate import Refused
from ingestd.receive.home import PartnerHome

_DISCONNECT = "Disconnecting."


class LoginCommands(Control):
    """USER and PASS."""

    def ftp_PASS(self, line: str) -> None:  # noqa: N802 - pyftpdlib calls it by this name
        """Check the password in a thread: on the loop, a hash would hold up everybody."""
        if self.authenticated:
            self.respond("503 User already authenticated.")
        elif not self.username:
            self.respond("503 Login with USER first.")
        else:
            login = names.label(self.username)
            self.offload(self.desk.hashing, lambda: self._check(login, line), lambda done: self._checked(login, done))

    def _check(self, login: str, password: str) -> Account | Refused:
        gate = self.desk.gate
        checked = gate.check(login, password, protocol=self.protocol, address=self.remote_ip)
        if isinstance(checked, Account):
            if gate.accounts.find(login) != checked:  # a session not logged in yet is not found by `dismiss_unknown`
                return Refused(reason="the login was changed meanwhile")
            PartnerHome.of(self.desk.homes, checked.source)
        return checked

    def _checked(self, login: str, done: Future[Account | Refused]) -> None:
        if self._closed:
            return
        if problem := done.exception():
            self.audit("login_fault", login=login, exc_info=problem)
            self.answer("421 Logins cannot be checked now; try again later.")
            self.close_when_done()
        elif isinstance(checked := done.result(), Account):
            self._let_through(checked)
        else:
            self.audit("login_refused", login=login, reason=checked.reason)
            self.call_later(checked.delay, self._refuse_login, checked)

    def _let_through(self, account: Account) -> None:
        self.account = account
        self.audit("login", **self.how())
        self._occupied = False
        self.handle_auth_success(str(self.desk.homes / account.source), "", "Login successful.")
        self.log_cmd("PASS", "", 230, "")
        self.go_on()

    def how(self) -> dict[str, str]:
        """By what the login came in, for the audit."""
        return {"protocol": self.protocol}

    def _refuse_login(self, refused: Refused) -> None:
        self.username = ""
        self.attempted_logins += 1
        if self.attempted_logins < self.max_login_attempts and not refused.banned:
            self.answer("530 Authentication failed.")
        else:
            self._held.clear()
            why = f": {refused.banned}" if refused.banned else ""
            self.answer(f"530 Authentication failed{why}. {_DISCONNECT}")
            self.close_when_done()
