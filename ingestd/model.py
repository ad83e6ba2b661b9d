"""The nouns that every floor shares: states, outcomes, stages and the facts of a delivery (LEADS.md, READING.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """Where a delivery stands, from the door to its end."""

    RECEIVED = "received"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    COMPLETED_WITH_REJECTS = "completed_with_rejects"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DUPLICATE = "duplicate"

    @property
    def final(self) -> bool:
        """True when no worker will touch the delivery again."""
        return self not in (State.RECEIVED, State.QUEUED, State.RUNNING)


class Outcome(StrEnum):
    """How one record of a delivery ended. Every record ends exactly once, and the counts add up to the records."""

    INSERTED = "inserted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    DISCARDED = "discarded"


class Stage(StrEnum):
    """The room of the road in which a problem was found."""

    DECODE = "decode"
    STRUCTURE = "structure"
    MAPPING = "mapping"
    TYPE = "type"
    RULE = "rule"
    OWNERSHIP = "ownership"
    DUPLICATE = "duplicate"
    DO_NOT_CALL = "do_not_call"
    DATABASE = "database"


class Severity(StrEnum):
    """An error ends the record; a warning is written to the log and the record goes on."""

    ERROR = "error"
    WARNING = "warning"


class Completeness(StrEnum):
    """How sure we are that the sender sent everything (RECEIVING.md, contract point 2)."""

    PROVEN = "proven"
    ASSUMED = "assumed"


class PoolState(StrEnum):
    """The state an operator sees on a lead pool (LEADS.md)."""

    AWAITING_CONFIRMATION = "Awaiting Confirmation"
    LOADING = "Loading"
    ACTIVE = "Active"
    INACTIVE = "Inactive"
    UPLOAD_FAILED = "Upload Failed"


@dataclass(frozen=True, kw_only=True)
class DialectHints:
    """What a source says about its files; None means: detect it."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    max_record_lines: int = 1_000
    max_record_bytes: int = 1_048_576
    max_bytes: int = 256 * 1024 * 1024
    """Upper bound of the decompressed text in bytes; protects against decompression bombs."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """How a file came in: said by the door, kept in the delivery."""

    source: str
    login: str
    peer: str
    protocol: str
    name: str
    """The name the sender gave, without folders."""
    folder: str = ""
    """The folder under the upload area, for example a campaign code; empty for the root."""
    completeness: Completeness = Completeness.ASSUMED
    evidence: str = ""
    """By what the completeness is known: `tcp fin`, `tls close_notify`, `quiet 2 s`, `companion sha256` …"""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One received file, as the ledger knows it."""

    id: int
    source: str
    login: str
    peer: str
    protocol: str
    name: str
    folder: str
    size: int
    """bytes"""
    sha256: str
    received_at: datetime
    state: State
    epoch: int
    attempts: int
    completeness: Completeness
    evidence: str
    spool_key: str
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stage: str = ""
    reason_code: str = ""
    reason: str = ""
    suggestion: str = ""
    pool_id: int | None = None
    duplicate_of: int | None = None
    previous_version: int | None = None
    log_key: str = ""
