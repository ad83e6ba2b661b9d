"""A file on its way in, whatever the protocol: kept as a delivery, or parked until it is renamed."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from pathlib import Path

from ingestd.accounts import Account
from ingestd.errors import Rejected, Unavailable
from ingestd.model import Arrival, Completeness
from ingestd.receive.home import PartnerHome, Place, TooManyFolders
from ingestd.receive.landing import Landing, Receipt
from ingestd.receive.open_files import TooManyOpen
from ingestd.receive.parked import TooMuchWaits, check_waiting
from ingestd.spool import Changed, Gap, Incoming, fingerprint

Looks = tuple[int, int, int, int]
"""A file as `spool.fingerprint` tells it from another one under its name."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends, and by which door."""

    account: Account
    peer: str
    protocol: str

    def arrival(self, place: Place, completeness: Completeness, evidence: str) -> Arrival:
        """How a file of this sender came in."""
        return Arrival(
            source=self.account.source,
            login=self.account.login,
            peer=self.peer,
            protocol=self.protocol,
            name=place.label,
            folder=place.folder,
            completeness=completeness,
            evidence=evidence,
        )


@dataclass(kw_only=True, eq=False)
class Sending:
    """A file that is being received, with all that is needed when it is whole."""

    incoming: Incoming
    place: Place
    sender: Sender
    park_at: Path | None = None
    """where to put the file when its name says that a rename will follow"""
    home: Path = Path()
    """the home that is in"""
    completeness: Completeness = Completeness.ASSUMED
    evidence: str = ""
    problem: BaseException | None = None
    """why it will not be kept, once that is known"""

    def prove(self, evidence: str) -> None:
        """Note that the file has come whole, and by what that is known."""
        self.completeness, self.evidence = Completeness.PROVEN, evidence

    def keep(self, landing: Landing) -> Receipt | None:
        """Land the file, or park it and return None. Slow, so not on a loop; the file is closed afterwards."""
        try:
            if self.park_at is None:
                return landing.accept(self.incoming, self.sender.arrival(self.place, self.completeness, self.evidence))
            check_waiting(self.home, self.park_at, self.incoming.size, self.sender.account.limit)
            PartnerHome(self.home).make_folder_of(str(self.park_at))
            self.incoming.park(self.park_at)
            return None
        finally:
            self.incoming.close()


def land_parked(landing: Landing, parked: Path, arrival: Arrival, limit: int, looks: Looks | None = None) -> Receipt:
    """Land a parked file; slow. It stays until the receipt is there, so a client that got none can rename again.

    Raises what `Landing.accept` raises, and OSError when the file changed meanwhile, or does not look as it has to.
    """
    before = looks or fingerprint(parked.stat())
    incoming = _adopted(landing, parked, limit, before)
    try:
        receipt = landing.accept(incoming, arrival)
    except Rejected:  # it was kept, as a refused delivery
        _unpark(parked, before)
        raise
    _unpark(parked, before)
    return receipt


def _adopted(landing: Landing, parked: Path, limit: int, before: Looks) -> Incoming:
    try:
        incoming = landing.adopt(parked, limit)
    except Changed as problem:
        raise OSError(str(problem)) from problem
    if fingerprint(parked.stat()) != before:
        incoming.abort()
        raise OSError("another session has just parked another file under the name")
    return incoming


def _unpark(parked: Path, before: Looks) -> None:
    with contextlib.suppress(FileNotFoundError):
        if fingerprint(parked.stat()) == before:  # else another session has parked a new file under the name
            parked.unlink()


def why_not_kept(problem: BaseException) -> str:
    """What a sender is told about a file that was not kept."""
    code = problem.errno if isinstance(problem, OSError) else None
    if isinstance(problem, Rejected):
        return f"{problem.message}; {problem.suggestion}" if problem.suggestion else problem.message
    if isinstance(problem, (TooManyOpen, TooMuchWaits, TooManyFolders)):
        return str(problem)
    if isinstance(problem, Gap):
        return f"{problem}: the file is not whole; nothing was kept, send the whole file again"
    if isinstance(problem, OSError) and code in (errno.EFBIG, errno.EINVAL):
        return f"the file is {problem.strerror}; nothing was kept"
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "there is no room for the file now; nothing was kept, send it again later"
    unavailable = isinstance(problem, Unavailable)
    what = "deliveries cannot be recorded now; send the file" if unavailable else "the file could not be kept; send it"
    return f"{what} again later"


def is_bug(problem: BaseException) -> bool:
    """True for what nobody foresaw; an operator has to see where it came from."""
    return not isinstance(problem, (OSError, Unavailable, Rejected, Gap))
