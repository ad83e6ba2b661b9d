"""Files that commands write for whoever called them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestd.errors import Unavailable


def write(pieces: Iterable[bytes], path: Path) -> None:
    """Writes a file, or into a device; raises Unavailable when it cannot be written, and whatever the pieces do."""
    _write(pieces, path, path)


def write_whole(pieces: Iterable[bytes], path: Path) -> None:
    """The same, under its name only once all of it is there, and for its owner alone."""
    partial = path.with_name(f"{path.name}.part")
    try:
        with _writable(path):
            partial.touch(mode=0o600)
        _write(pieces, partial, path)
        with _writable(path):
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # its folder may not be there
            partial.unlink()


def _write(pieces: Iterable[bytes], path: Path, told: Path) -> None:
    with _writable(told):
        file = path.open("wb")
    try:
        for piece in pieces:
            with _writable(told):
                file.write(piece)
    finally:
        with _writable(told):  # a full disk may be told only here
            file.close()


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise Unavailable(f"{path} cannot be written: {problem.strerror}") from problem
