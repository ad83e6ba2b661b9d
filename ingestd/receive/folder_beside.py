"""What lies beside a file of the drop folder: its companions, and what they say about it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from ingestd.errors import Rejected
from ingestd.receive.companions import LARGEST, Kind, parse
from ingestd.receive.folder_moves import held_around
from ingestd.receive.folder_rules import SILENT, Mark, Observation, Said, companion_whole
from ingestd.receive.folder_scan import Found

_CHUNK = 1024 * 1024  # bytes


class Digests:
    """Whether files are what their companions say; each is read once, until one of the two changes."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """`beat` is called for every piece that is read."""
        self._beat = beat
        self._known: dict[Path, tuple[tuple[Mark, ...], bool]] = {}

    def fits(self, file: Found, companions: Sequence[Found]) -> bool:
        """Whether the file has every digest that its companions give. One that cannot be read is no match."""
        marks = (file.mark, *(companion.mark for companion in companions))
        known = self._known.get(file.path)
        if known is None or known[0] != marks:
            known = self._known[file.path] = (marks, self._fit(file, companions))
        return known[1]

    def forget_all_but(self, present: Collection[Path]) -> None:
        """Forget the files that have gone."""
        self._known = {path: known for path, known in self._known.items() if path in present}

    def _fit(self, file: Found, companions: Sequence[Found]) -> bool:
        """A file that is too large is refused whatever it says; to read it would only take time."""
        if file.status.st_size > file.options.limit:
            return True
        return all(_fits(file, companion, self._beat) for companion in companions)


def _fits(file: Found, companion: Found, beat: Callable[[], None]) -> bool:
    assert companion.kind is not None
    # What the sender has chosen; nothing else is guarded by it.
    digest = hashlib.sha256() if companion.kind is Kind.SHA256 else hashlib.md5(usedforsecurity=False)
    try:
        with _opened(companion) as reader:
            said = parse(companion.kind, reader.read(LARGEST + 1), file.name)
        with _opened(file) as reader:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                beat()
    except (OSError, Rejected):  # told when they are taken
        return False
    return digest.hexdigest() == said


@contextlib.contextmanager
def _opened(file: Found) -> Iterator[IO[bytes]]:
    with held_around(file.base, file.path) as folder:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(file.path.name, flags, dir_fd=folder), "rb") as reader:
            yield reader


def _left(companion: Found, claimed: Found) -> bool:
    """Whether a companion was there when its file was claimed: a kill came before it was removed."""
    return companion.status.st_ctime_ns <= claimed.status.st_ctime_ns  # which a rename sets


class Beside:
    """The companions of one scan, by the file that they speak about."""

    def __init__(
        self,
        companions: Iterable[Found],
        seen: Mapping[Path, Observation],
        now: float,
        fits: Callable[[Found, Sequence[Found]], bool],
    ) -> None:
        self._by_place: dict[tuple[str, str, str], list[Found]] = defaultdict(list)
        self._seen, self._now, self._fits = seen, now, fits
        for companion in companions:
            self._by_place[companion.place].append(companion)

    def of(self, file: Found) -> Sequence[Found]:
        """The companions of a file, in the order of their names. What came after its claim is of another."""
        if file.place not in self._by_place:
            return ()
        its_own = [each for each in self._by_place[file.place] if not file.claimed or _left(each, file)]
        return sorted(its_own, key=lambda companion: companion.raw_name)

    def whole(self, companion: Found) -> bool:
        """Whether a companion may be read."""
        assert companion.kind is not None
        return companion_whole(self._seen[companion.path], companion.kind, companion.options, self._now)

    def said(self, file: Found) -> Said:
        """What they say about it."""
        companions = self.of(file)
        if not companions:
            return SILENT
        digests = [companion for companion in companions if companion.kind in (Kind.SHA256, Kind.MD5)]
        return Said(
            kinds=frozenset(companion.kind for companion in companions if companion.kind),
            marker=next((companion.name for companion in companions if companion.kind is Kind.MARKER), ""),
            writing=not all(map(self.whole, companions)),
            digest=digests[0].name if digests else "",
            fits=lambda: self._fits(file, digests),
        )
