"""When a file is whole: the rule alone, without files and without a clock."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.receive.companions import Kind
from ingestd.receive.folder_rules import (
    CLOSED,
    MOVED,
    PATIENCE,
    FolderOptions,
    Mark,
    Observation,
    Said,
    companion_whole,
    evidence,
    observe,
    overdue,
    proven,
    ready,
    waits_for_proof,
)
from tests.receive.dropping import QUIET

OPTIONS = FolderOptions(limit=1000, quiet_seconds=QUIET)
DEMANDING = dataclasses.replace(OPTIONS, demand=True)
MARKER = Said(kinds=frozenset({Kind.MARKER}), marker="x.csv.done")


def mark(size: int = 5, changed: int = 1) -> Mark:
    return (1, 2, size, changed)


def digest(fits: bool) -> Said:
    return Said(kinds=frozenset({Kind.SHA256}), digest="x.csv.sha256", fits=lambda: fits)


def test_a_quiet_file_is_ready_after_so_many_seconds() -> None:
    """And not a moment before."""
    seen = observe(None, mark(), 10.0)
    assert not ready(seen, OPTIONS, 10.0 + QUIET - 0.001)
    assert evidence(seen, OPTIONS, 10.0 + QUIET) == "quiet 2 s"


@pytest.mark.parametrize("sign", [CLOSED, MOVED])
def test_a_sign_makes_it_ready_at_once(sign: str) -> None:
    """Closed by its writer, or moved into place."""
    assert evidence(observe(None, mark(), 10.0, sign=sign), OPTIONS, 10.0) == sign


def test_a_closed_empty_file_has_to_be_quiet() -> None:
    """It is often the first step of a writer."""
    seen = observe(None, mark(size=0), 10.0, sign=CLOSED)
    assert not ready(seen, OPTIONS, 10.0)
    assert ready(seen, OPTIONS, 10.0 + QUIET)


def test_a_marker_makes_it_ready_at_once() -> None:
    """Whatever else is known."""
    for options in (OPTIONS, DEMANDING):
        assert evidence(observe(None, mark(), 0.0), options, 0.0, MARKER) == "marker x.csv.done"


def test_a_companion_that_is_being_written_is_waited_for() -> None:
    """What it says is not known yet."""
    seen = observe(None, mark(), 0.0, sign=CLOSED)
    assert evidence(seen, OPTIONS, 1000.0, dataclasses.replace(MARKER, writing=True)) == ""


def test_a_file_that_fits_its_digest_is_taken_when_it_is_quiet() -> None:
    """Not before: the digest of a file that is written to would be computed all the time."""
    asked = []
    said = dataclasses.replace(digest(True), fits=lambda: not asked.append(1))
    seen = observe(None, mark(), 0.0)
    assert evidence(seen, OPTIONS, QUIET - 0.001, said) == ""
    assert asked == []
    assert evidence(seen, OPTIONS, QUIET, said) == "digest x.csv.sha256"


def test_a_quiet_file_that_does_not_fit_its_digest_has_a_minute() -> None:
    """A slow writer who pauses is not refused."""
    seen = observe(None, mark(), 0.0)
    assert evidence(seen, OPTIONS, PATIENCE - 0.001, digest(False)) == ""
    assert evidence(seen, OPTIONS, PATIENCE, digest(False)) == "quiet 60 s"


def test_a_closed_file_is_taken_whatever_its_digest() -> None:
    """Its writer has finished; the landing refuses it with both values."""
    assert evidence(observe(None, mark(), 0.0, sign=CLOSED), OPTIONS, 0.0, digest(False)) == CLOSED


def test_what_is_demanded_is_waited_for() -> None:
    """Nothing else counts, but everything else is needed too."""
    silent = Said()
    seen = observe(None, mark(), 0.0, sign=CLOSED)
    assert evidence(seen, DEMANDING, 1000.0) == ""
    assert waits_for_proof(seen, DEMANDING, 0.0, silent)
    assert not waits_for_proof(seen, OPTIONS, 0.0, silent)
    assert not waits_for_proof(seen, DEMANDING, 0.0, digest(True))
    assert not waits_for_proof(observe(None, mark(), 0.0), DEMANDING, 0.0, silent)
    assert evidence(seen, DEMANDING, 0.0, digest(True)) == CLOSED
    assert evidence(seen, DEMANDING, 0.0, Said(kinds=frozenset({Kind.COUNT}))) == CLOSED


def test_waiting_has_an_end() -> None:
    seen = observe(None, mark(), 0.0)
    assert not overdue(seen, DEMANDING, 24 * 3600 - 0.1)
    assert overdue(seen, DEMANDING, 24 * 3600)


def test_only_markers_and_digests_prove() -> None:
    """The words are the ones of `evidence`."""
    seen = observe(None, mark(), 0.0)
    assert proven(evidence(seen, OPTIONS, 0.0, MARKER))
    assert proven(evidence(seen, OPTIONS, QUIET, digest(True)))
    assert not proven(evidence(seen, OPTIONS, PATIENCE, digest(False)))
    assert not any(map(proven, (CLOSED, MOVED, evidence(seen, OPTIONS, QUIET))))


def test_a_companion_is_read_when_it_is_whole() -> None:
    """A marker has nothing in it."""
    seen = observe(None, mark(), 0.0)
    assert companion_whole(seen, Kind.MARKER, OPTIONS, 0.0)
    assert not companion_whole(seen, Kind.SHA256, OPTIONS, QUIET - 0.001)
    assert companion_whole(seen, Kind.SHA256, OPTIONS, QUIET)
    assert companion_whole(observe(seen, mark(), 0.1, sign=CLOSED), Kind.MD5, OPTIONS, 0.1)


@given(st.lists(st.tuples(st.floats(0, 1.9), st.integers(1, 3)), min_size=1))
def test_a_file_that_changes_is_never_ready(looks: list[tuple[float, int]]) -> None:
    """Whatever the looks are like: each that finds another size starts the waiting anew."""
    seen: Observation | None = None
    now, size = 0.0, 0
    for pause, growth in looks:
        now, size = now + pause, size + growth
        seen = observe(seen, mark(size), now)
        assert not ready(seen, OPTIONS, now)


def test_what_was_heard_is_known_until_the_file_changes() -> None:
    heard = observe(None, mark(), 0.0, sign=CLOSED, heard=True)
    assert observe(heard, mark(), 1.0) == heard
    assert observe(heard, mark(size=6), 1.0) == Observation(mark=mark(size=6), since=1.0)
