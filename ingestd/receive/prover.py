"""The prover: whether a file came whole, by what is said about it in other files (RECEIVING.md, contract point 2).

A companion may come before its file or after it; the answer is the same, whoever comes second is told. What a source
demands decides whether a file without any proof waits for one or is loaded as it is.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from ingestd.errors import Rejected, Unavailable
from ingestd.model import Arrival, Completeness, Delivery, State
from ingestd.receive.companions import Kind
from ingestd.store.proofs import REVIVABLE, Companion, Proofs

log = structlog.get_logger()

SOON = timedelta(hours=1)
"""So long after its file a number of records is of it, and not of the next one that has as many."""

MOST_CHUNKS = 20
"""Chunks of companions that one sweep forgets; the next sweep goes on, and what is beside it is not kept waiting."""

_WAITS = "it waits for"
_TURNS = 10  # a worker moves a delivery on a few times; more is a fault of ours, and must not hold the door up
_LOADED = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)


@dataclass(frozen=True, kw_only=True)
class ProofRules:
    """What one source demands of its files."""

    demand: bool = False
    """True when a file that is not proven whole waits for its companion"""
    trailer: bool = False
    """True when the last line of each file proves it, so that nothing has to be waited for"""
    wait: timedelta = timedelta(hours=24)
    """how long a file waits for its companion, and a companion for its file"""


class Bytes(Protocol):
    """Where received files are found again."""

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes of a key of the spool. Raises OSError and Unavailable."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """The file may be loaded; how sure it is that it came whole, and by what that is known."""

    completeness: Completeness
    evidence: str
    expected_records: int | None


Judgement = Proven | Rejected | None
"""None: the file waits for a companion."""


def judge(delivery: Delivery, said: Sequence[Companion], rules: ProofRules, md5: Callable[[], str]) -> Judgement:
    """What follows from all that is known of a file. `md5` is asked only when a companion gives one."""
    by_kind = {Kind(companion.kind): companion for companion in said}
    for kind in (Kind.SHA256, Kind.MD5):
        if kind in by_kind:
            has = delivery.sha256 if kind is Kind.SHA256 else md5()
            if has != by_kind[kind].value:
                return _mismatch(delivery, kind, has, by_kind[kind])
    counted = by_kind.get(Kind.COUNT)
    expected = int(counted.value) if counted else None
    proof = _evidence(by_kind)
    if proof or delivery.completeness is Completeness.PROVEN:
        return Proven(completeness=Completeness.PROVEN, evidence=proof or delivery.evidence, expected_records=expected)
    if rules.demand and not rules.trailer and counted is None:
        return None
    return Proven(completeness=delivery.completeness, evidence=delivery.evidence, expected_records=expected)


def concerning(
    delivery: Delivery, known: Sequence[Companion], md5: Callable[[], str], came: datetime | None
) -> list[Companion]:
    """Those of the known companions that speak of this delivery. The others wait for the next file of its name.

    `came` is when its file came, the last time; None when another one of its name has come since.
    """
    first: dict[str, Companion] = {}
    for each in known:
        if each.delivery_id is not None:
            first.setdefault(each.kind, each)
    waiting = (each for each in known if each.delivery_id is None)
    spoken = {each.kind: each for each in waiting if _speaks(delivery, each, first.get(each.kind), md5, came)}
    return list({**first, **spoken}.values())


def _speaks(
    delivery: Delivery, said: Companion, first: Companion | None, md5: Callable[[], str], came: datetime | None
) -> bool:
    """Whether a companion that nothing has used yet speaks of a delivery, whose `first` one of its kind is known.

    One that says something else is most likely the forerunner of another version. So is one that says the same where
    the first came before its file. Was it given to the old file, the new one would be taken as it is, even when it was
    cut.
    """
    if came is None:
        return first is None and said.kind in (Kind.SHA256, Kind.MD5) and _fits(delivery, said, md5)
    if first is not None:
        here_after = said.received_at > came and first.received_at <= delivery.received_at
        return said.value == first.value and not here_after
    if delivery.state not in _LOADED:
        return True
    # Another file may have as many records; no other one has the digest. Markers come last.
    return _fits(delivery, said, md5) and (said.kind != Kind.COUNT or said.received_at - came <= SOON)


def _fits(delivery: Delivery, said: Companion, md5: Callable[[], str]) -> bool:
    """Whether a delivery that was loaded is what a companion says. A marker fits always."""
    kind = Kind(said.kind)
    if kind is Kind.SHA256:
        return said.value == delivery.sha256
    if kind is Kind.MD5:
        return said.value == md5()
    return kind is Kind.MARKER or int(said.value) == delivery.counts.records - delivery.counts.discarded


def _evidence(by_kind: dict[Kind, Companion]) -> str:
    """A digest says more than a marker. A count proves nothing before the records were counted."""
    for kind, word in ((Kind.SHA256, "sha256"), (Kind.MD5, "md5"), (Kind.MARKER, "marker")):
        if kind in by_kind:
            return f"{word} in {by_kind[kind].file}" if kind is not Kind.MARKER else f"marker {by_kind[kind].file}"
    return ""


def _mismatch(delivery: Delivery, kind: Kind, has: str, said: Companion) -> Rejected:
    return Rejected(
        "digest_mismatch",
        f"{delivery.name} has the {kind} {has}, but {said.file} says {said.value}",
        suggestion="send both again: the file was changed or cut on its way, or the companion is of another file",
    )


class Prover:
    """Holds companions and files against each other. Safe to use from several threads and processes."""

    def __init__(
        self,
        spool: Bytes,
        proofs: Proofs,
        rules: Callable[[str], ProofRules],
        ring: Callable[[], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`rules` gives those of a source, as they are now; `ring` is the doorbell to the workers."""
        self._spool = spool
        self._proofs = proofs
        self._rules = rules
        self._ring = ring
        self._clock = clock
        self._told: set[int] = set()

    def holds(self, arrival: Arrival) -> bool:
        """True when a file that came so may not be loaded before a companion proves it."""
        rules = self._rules(arrival.source)
        return rules.demand and not rules.trailer and arrival.completeness is not Completeness.PROVEN

    def settle(self, delivery_id: int) -> str:
        """Decide about a delivery; what is to be said to whom came second, empty when nothing is.

        Raises Rejected when the file is not what its companions say, after it has been refused; Unavailable.
        """
        for _ in range(_TURNS):
            delivery = self._proofs.get(delivery_id)
            if delivery is None or delivery.state in (State.FAILED, State.CANCELLED):
                return ""
            if delivery.state is State.REFUSED and delivery.reason_code not in REVIVABLE:
                return ""
            if (told := self._decided(delivery, self._proofs.of(delivery))) is not None:
                return told
        raise Unavailable(f"delivery {delivery_id} could not be settled: it changed each time that it was looked at")

    def _decided(self, delivery: Delivery, known: Sequence[Companion]) -> str | None:
        """What is to be told; None when the delivery has moved on meanwhile and must be looked at again."""
        md5 = functools.cache(lambda: _held_against(delivery, known) or self._md5(delivery))
        said = concerning(delivery, known, md5, self._proofs.came_last(delivery))
        told = self._judged(delivery, said, md5)
        others = [each for each in known if each.delivery_id is None and each not in said]
        return self._kept(delivery, others[0], known) if others and told == "" else told

    def _kept(self, delivery: Delivery, companion: Companion, known: Sequence[Companion]) -> str:
        if _is_so(delivery, companion, known):
            return f"kept for the next {delivery.name}"
        log.warning("companion_of_another_file", delivery=delivery.id, source=delivery.source, file=companion.file)
        return f"kept for the next {delivery.name}; delivery {delivery.id} is another file"

    def _judged(self, delivery: Delivery, said: Sequence[Companion], md5: Callable[[], str]) -> str | None:
        judgement = judge(delivery, said, self._rules(delivery.source), md5)
        if judgement is None:
            waits = delivery.state is State.RECEIVED
            return f"{_WAITS} {delivery.name}.sha256, .md5, .done or .count" if waits else ""
        if isinstance(judgement, Rejected):
            return self._refused(delivery, judgement)
        nothing_new = all(each.delivery_id is not None for each in said) and delivery.state is not State.RECEIVED
        if nothing_new or (delivery.state is State.REFUSED and not _changes(delivery, judgement)):
            return ""
        return self._released(delivery, said, judgement)

    def _released(self, delivery: Delivery, said: Sequence[Companion], proven: Proven) -> str | None:
        queued = self._proofs.release(
            delivery,
            said,
            completeness=proven.completeness,
            evidence=proven.evidence,
            expected_records=proven.expected_records,
        )
        if queued:
            self._ring()
        return None if queued is None else f"delivery {delivery.id}: {proven.completeness}, {proven.evidence}"

    def _refused(self, delivery: Delivery, why: Rejected) -> str | None:
        if delivery.state is not State.REFUSED:
            if not self._proofs.refuse(delivery, why):
                return None
            log.info("delivery_disproved", delivery=delivery.id, source=delivery.source, reason=why.message)
        raise why

    def companion(self, arrival: Arrival, about: str, kind: Kind, value: str, *, ahead: bool = False) -> str:
        """Keep what a companion says, and hold it against its file; returns what to tell its sender.

        With `ahead` its file has not come yet, though others may have under its name.
        Raises Rejected when they do not fit, Unavailable when it cannot be kept.
        """
        self._proofs.keep(
            source=arrival.source, folder=arrival.folder, name=about, kind=kind, value=value, file=arrival.name
        )
        last = None
        if not ahead:
            last = self._proofs.concerned(source=arrival.source, folder=arrival.folder, name=about)
        return (self.settle(last.id) if last else "") or f"kept for {about}"

    def sweep(self, beat: Callable[[], None] = lambda: None) -> None:
        """Settle what a crash left, refuse what has waited too long, forget companions whose file never came.

        `beat` is called again and again meanwhile.
        """
        now = self._clock()
        spoken_of = self._proofs.spoken_of()
        for delivery in self._proofs.waiting():
            late = now - delivery.received_at > self._rules(delivery.source).wait
            if late or delivery.id in spoken_of or not self._waits(delivery):
                self._attempt(delivery, late=late)
                beat()
        for companions in itertools.islice(self._late(now), MOST_CHUNKS):
            self._give_up(companions)
            self._proofs.forget(companions)
            beat()

    def _late(self, now: datetime) -> Iterator[list[Companion]]:
        """Companions whose file has not come in time, in chunks; the next one without those that were forgotten."""
        for source, oldest in self._proofs.oldest_unused().items():
            before = now - self._rules(source).wait
            while oldest < before and (late := self._proofs.late(source, before)):
                yield late

    def _waits(self, delivery: Delivery) -> bool:
        """Whether a file without companions has to wait at all: what its source demands may have changed."""
        return judge(delivery, (), self._rules(delivery.source), str) is None

    def _attempt(self, delivery: Delivery, *, late: bool) -> None:
        """One delivery that meets a fault must not hold up the others, nor end the doors."""
        try:
            told = self.settle(delivery.id)
            if late and told.startswith(_WAITS):
                self._proofs.refuse(delivery, _missing(delivery, self._rules(delivery.source).wait))
        except Rejected as why:
            log.info("delivery_refused_late", delivery=delivery.id, source=delivery.source, reason=why.message)
        except Exception:
            if delivery.id not in self._told:
                self._told.add(delivery.id)
                log.exception("proof_fault", delivery=delivery.id, source=delivery.source)
        else:
            self._told.discard(delivery.id)

    def _give_up(self, late: Sequence[Companion]) -> None:
        """No other file has come: so these spoke of the one that had been loaded. Told when it is not what they say."""
        for companion in self._proofs.named(late):
            delivery = self._proofs.concerned(source=companion.source, folder=companion.folder, name=companion.name)
            if delivery is None or delivery.state not in _LOADED:
                continue
            if not _is_so(delivery, companion, self._proofs.of(delivery)):
                reason = f"{companion.file} says {companion.value}, which came after it was loaded and does not fit"
                self._proofs.note(delivery, f"{delivery.evidence}; {reason}")
                log.warning("delivery_disproved", delivery=delivery.id, source=delivery.source, reason=reason)

    def _md5(self, delivery: Delivery) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        try:
            for piece in self._spool.pieces(delivery.spool_key):
                digest.update(piece)
            return digest.hexdigest()
        except OSError as problem:
            raise Unavailable(f"delivery {delivery.id} cannot be read: {problem.strerror}") from problem


def _held_against(delivery: Delivery, known: Sequence[Companion]) -> str:
    """The MD5 that a delivery was found to have; empty when none of its companions gave one, or while it waits.

    It is not computed again: the kept file has another one since somebody was anonymised in it.
    """
    if delivery.state is State.RECEIVED:
        return ""
    return next((each.value for each in known if each.kind == Kind.MD5 and each.delivery_id is not None), "")


def _is_so(delivery: Delivery, companion: Companion, known: Sequence[Companion]) -> bool:
    """Whether a companion says what is known of a delivery; its file is not read."""
    used = [(each.kind, each.value) for each in known if each.delivery_id is not None]
    counted = companion.kind == Kind.COUNT and _fits(delivery, companion, str)
    return counted or (companion.kind, companion.value) in used


def _changes(delivery: Delivery, judgement: Proven) -> bool:
    """A refusal is taken back by a proof; for a wrong number of records by another number only."""
    if delivery.reason_code == "control_total_mismatch":
        return judgement.expected_records != delivery.expected_records
    return True


def _missing(delivery: Delivery, waited: timedelta) -> Rejected:
    return Rejected(
        "proof_missing",
        f"nothing proved within {waited.total_seconds() / 3600:g} hours that {delivery.name} came whole",
        suggestion=f"send {delivery.name}.sha256, .md5, .done or .count with the file, or use SFTP or FTPS",
    )
