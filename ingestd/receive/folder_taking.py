"""How a file of the drop folder is taken: copied into the spool, recorded, and only then moved away or remembered.

A kill between any two steps neither loses nor doubles a file: before it is recorded it is taken again for the first
time, and after that the ledger answers "duplicate" (same source, name and hash). The spool's sweep takes what a copy
left.
"""

from __future__ import annotations

import contextlib
import errno
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ingestd.errors import Rejected
from ingestd.model import Arrival, Completeness
from ingestd.receive import names
from ingestd.receive.companions import LARGEST, Kind
from ingestd.receive.folder_after import Custody, MoveAway
from ingestd.receive.folder_moves import reachable, unchanged
from ingestd.receive.folder_rules import Mark, proven
from ingestd.receive.folder_scan import Found
from ingestd.receive.landing import Landing, Receipt
from ingestd.spool import Changed, Incoming

REMEMBERED = 100_000
"""files that were taken, so that companions which come later are handed in at once"""

BESIDE = "companion"
"""The evidence of a companion itself."""


class Taking:
    """Takes files that are whole. Every call raises Unavailable and OSError; then the file is where it was."""

    def __init__(self, landing: Landing, custody: Custody, audit: Any) -> None:
        self._landing = landing
        self._custody = custody
        self._ours = MoveAway(handed_back=True)
        self._audit = audit
        self._handed: dict[Path, tuple[Mark, bool]] = {}

    def custody(self, file: Found) -> Custody:
        """What is done to a file. One in `.taking/` is ours, also after files were told to be left where they are."""
        return self._ours if file.claimed else self._custody

    def looked(self, source: str, base: Path, files: Collection[Found]) -> None:
        """These are all the files of a source now."""
        self._custody.looked(source, base, files)

    def forget_all_but(self, present: Collection[Path]) -> None:
        """Forget the companions that are gone."""
        self._handed = {path: how for path, how in self._handed.items() if path in present}

    def take(self, file: Found, known: str, companions: Sequence[Found], *, found_by: str) -> Receipt | None:
        """Take a file, its companions first, so that it is judged at once. None when it was not taken."""
        if reason := names.problem(file.name):
            self.refuse(file, file.path, f"The name {reason}.")
            return None
        if not file.claimed and not unchanged(file.base, file.path, file.status):
            return None  # written to since the scan, which may be a while: it is looked at again
        if not all(self.hand(companion, ahead=True) for companion in companions):
            return None  # one was refused: what is known of the file is another now
        custody = self.custody(file)
        path = custody.hold(file)
        if path is None:
            return None
        for companion in companions:  # now, or a new file of the same name would be taken for what they speak about
            custody.taken(companion, companion.path, None)
        return self._landed(file, path, known, found_by)

    def _landed(self, file: Found, path: Path, known: str, found_by: str) -> Receipt | None:
        receipt = None
        with self._refusals(file, path):
            incoming = self._copied(file, path, file.options.limit)
            if incoming is None:
                return None
            receipt = self._landing.accept(incoming, _arrival(file, known))
            facts = {"receipt": str(receipt), "received": receipt.size, "evidence": known, "found_by": found_by}
            self._audit.info("folder_landed", **_who(file), **facts)
            self.custody(file).taken(file, path, receipt.delivery_id)
        return receipt

    def hand(self, companion: Found, *, ahead: bool = False) -> bool:
        """Tell the landing what a companion says, once; False when that cannot be, or it was refused.

        `ahead` of its file: else a delivery that had the name before would take it, and the file, which may not get
        through at once, would have nothing to prove it.
        """
        if self._handed.get(companion.path) == (companion.mark, ahead):
            return True
        handed = False
        with self._refusals(companion, companion.path):
            incoming = self._copied(companion, companion.path, LARGEST)
            if incoming is not None:
                receipt = self._landing.accept(incoming, _arrival(companion, BESIDE), ahead=ahead)
                self._audit.info("folder_companion", **_who(companion), receipt=str(receipt))
                self._handed[companion.path] = (companion.mark, ahead)
                handed = True
        return handed

    def _copied(self, file: Found, path: Path, limit: int) -> Incoming | None:
        """A copy of the file as it was seen; None when it was written to since: it is looked at again."""
        try:
            with reachable(file.base, path) as readable:
                incoming = self._landing.adopt(readable, limit)
        except (Changed, FileNotFoundError):
            return None
        # On a network mount the scan may have seen an old size; opening the file has brought the news.
        if unchanged(file.base, path, file.status):
            return incoming
        incoming.close()
        return None

    @contextlib.contextmanager
    def _refusals(self, file: Found, path: Path) -> Iterator[None]:
        """What is the file's own fault. A delivery that is refused on arrival is in the ledger; a companion is not."""
        try:
            yield
        except Rejected as problem:
            self.refuse(file, path, problem.message, recorded=file.kind is None)
        except OSError as problem:
            if problem.errno != errno.EFBIG:
                raise
            self.refuse(file, path, f"The file is {problem.strerror}.")

    def refuse(self, file: Found, path: Path, reason: str, *, recorded: bool = False) -> None:
        """Let the sender know that the file is not taken, and why."""
        self.custody(file).refused(file, path, reason, recorded=recorded)
        self._audit.info("folder_rejected", **_who(file), reason=reason)


def _who(file: Found) -> dict[str, str]:
    return {"source": file.source, "folder": file.folder, "name": file.name}


def _arrival(file: Found, known: str) -> Arrival:
    return Arrival(
        source=file.source,
        login=file.source,
        peer="local",
        protocol="folder",
        name=file.name,
        folder=file.folder,
        completeness=Completeness.PROVEN if proven(known) else Completeness.ASSUMED,
        evidence=known,
    )


class Taken:
    """Which files were taken lately, and what companions have come for each: so that one that comes later finds it."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[str, str, str], set[Kind]] = OrderedDict()

    def note(self, file: Found, companions: Sequence[Found]) -> None:
        """A file was taken together with these."""
        self._kinds[file.place] = {companion.kind for companion in companions if companion.kind}
        self._kinds.move_to_end(file.place)
        if len(self._kinds) > REMEMBERED:
            self._kinds.popitem(last=False)

    def misses(self, companion: Found) -> bool:
        """True when its file was taken without one of its kind; a second one is for the file that comes next."""
        return companion.place in self._kinds and companion.kind not in self._kinds[companion.place]

    def give(self, companion: Found) -> None:
        """A companion of a file that was taken has come."""
        if companion.place in self._kinds and companion.kind:
            self._kinds[companion.place].add(companion.kind)
