"""The nouns that every floor shares: states, outcomes, stages and the facts of a delivery (LEADS.md, READING.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

UPLOAD = "upload"
"""The source of what an operator uploads into a campaign without naming a source; no partner's may be called so."""

LOG_HEADER = "header.json"
"""The part of a pool log that is written last: a log that has it is whole."""


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
    UNDONE = "Undone"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A team or user that can own leads."""

    id: int
    kind: str
    """`team` or `user`"""
    name: str
    """The team's key or the user's login."""
    code: str | None
    """The Lead Ownership Code as stored."""


@dataclass(frozen=True, kw_only=True)
class Owners:
    """Every active owner of the organisation."""

    by_code: Mapping[str, Owner]
    """by the form in which Lead Ownership Codes are compared"""
    by_name: Mapping[str, Owner]
    """by `team:<key>` and `user:<login>`"""


@dataclass(frozen=True, kw_only=True)
class CampaignRules:
    """A campaign, and what it does with records that are there already or may not be called (LEADS.md)."""

    id: int
    code: str
    region: str
    """Default phone region and country, ISO 3166-1 alpha-2."""
    timezone: str
    template: str | None
    on_duplicate: str
    """`reject`, `update` or `keep`"""
    on_do_not_call: str
    """`reject`, or `close`: load as a closed lead"""
    on_invalid_phone: str
    """`reject`, or `close`: load as a closed lead"""


@dataclass(frozen=True, kw_only=True)
class DialectHints:
    """What a source says about its files; None means: detect it."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    trailer: str | None = None
    """Regular expression with a group `rows`: the last line says how many records there are, and is none itself."""
    max_record_lines: int = 1_000
    max_record_bytes: int = 1_048_576
    max_bytes: int = 256 * 1024 * 1024
    """Upper bound of the decompressed text in bytes; protects against decompression bombs."""
    max_records: int = 2_000_000
    """Upper bound of the lines or rows; every one costs memory, even when it is blank."""
    max_cells: int = 40_000_000
    """Upper bound of the cells of good records; an empty one costs a byte of the file, but 16 in memory."""


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
    default_owner: str | None = None
    """`team:<key>` or `user:<login>` for this delivery alone; None: the source's."""
    mapping: str | None = None
    """Header → field for this delivery alone, as a JSON object, laid over the source's; None: the source's."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many records of a delivery ended in which way; they always add up to `records`."""

    records: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicate: int = 0
    rejected: int = 0
    discarded: int = 0

    @property
    def loaded(self) -> int:
        """The records that became a lead, or are one."""
        return self.inserted + self.updated + self.unchanged

    def __post_init__(self) -> None:
        """Raises AssertionError when a record has no end or two: that is a bug, never a partner's fault."""
        ended = sum(getattr(self, outcome) for outcome in Outcome)
        if ended != self.records:
            raise AssertionError(f"{self.records} records, but {ended} outcomes: {self}")


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
    node_id: int | None = None
    """The node that received it; None when no daemon did."""
    expected_records: int | None = None
    """How many records a companion announced; None when none did."""
    duplicate_of: int | None = None
    previous_version: int | None = None
    published_at: datetime | None = None
    mapping: str | None = None
    """As in the arrival: what the sender wanted for this delivery alone."""
    mapping_version: int | None = None
    """Which version of its source's mapping it was read with; None before it was read."""
    confirmed_at: datetime | None = None
    """When somebody said that columns which match no field are to be ignored; None when nobody was asked."""
    rerun_of: int | None = None
    """The delivery whose bytes are read once more by this one."""
    log_key: str = ""
    """Where the pool log lies under the home's log folder: `<id>/<epoch>`."""
    timings: str = ""
    """Seconds spent in each stage, as a JSON object."""
    default_owner: str | None = None
    """As in the arrival: what the sender wanted for this delivery alone."""
    counts: Counts = Counts()
