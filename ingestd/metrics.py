"""What is counted, for Prometheus. Base units; no label that a partner can choose, so the number of series is bounded.

Every role counts in files of its own under `run/metrics`, named by the role and not by its process: a role that is
replaced goes on where its predecessor stopped, so counters never fall while the daemon runs. The web role adds the
files up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from structlog.typing import EventDict, WrappedLogger

from ingestd.model import Delivery, Outcome, State

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder that all roles share."""

_CLIENT_EVENTS = (
    "session", "session_end", "session_refused", "tls_failed", "login", "login_refused", "login_fault",
    "upload_landed", "upload_refused", "upload_cut", "upload_parked", "upload_fault", "download", "data_refused",
    "command", "command_refused", "commands_refused", "flood", "fault", "cannot_accept", "open",
)  # fmt: skip
_FOLDER_EVENTS = (
    "landed", "rejected", "companion", "waits_for_proof", "ignored", "cannot_take", "cannot_look", "store_away",
    "not_watched", "events_lost", "watched_anew", "fault",
)  # fmt: skip
EVENTS: Mapping[str, tuple[str, ...]] = {
    "ftp": _CLIENT_EVENTS,
    "sftp": _CLIENT_EVENTS,
    "folder": _FOLDER_EVENTS,
    "http": ("landed", "broken", "stalled"),
}
"""The events of each door that are counted by name, from zero on; any other one counts as `other`."""

_KEPT = {"upload_landed", "upload_parked", "landed"}
_STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_DELIVERY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0)
_SUCCESS = (State.COMPLETED, State.COMPLETED_WITH_REJECTS)


class Metrics:
    """The counters of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, timer = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.events = counter("ingestd_door_events", "Events at the doors.", ["door", "event"])
        self.received = counter("ingestd_received_bytes", "Bytes of files that came whole.", ["door"])
        self.found = counter("ingestd_folder_found", "Files of the drop folder, by what found them.", ["by"])
        self.rows = counter("ingestd_rows", "Records by how they ended.", ["source", "outcome"])
        self.deliveries = counter("ingestd_deliveries", "Ended deliveries.", ["source", "state"])
        self.stage = timer(
            "ingestd_stage_seconds", "Time a delivery spent in a stage.", ["stage"], buckets=_STAGE_BUCKETS
        )
        self.delivery = timer("ingestd_delivery_seconds", "From received to ended.", buckets=_DELIVERY_BUCKETS)
        self.success = Gauge(
            "ingestd_last_success_timestamp_seconds",
            "When a delivery of the source was last completed (Unix time).",
            ["source"],
            multiprocess_mode="max",
            registry=registry,
        )

    def open_doors(self) -> None:
        """Has every series of the doors there at zero, so that the first event is an increase."""
        for door, events in EVENTS.items():
            self.received.labels(door)
            for event in (*events, "other"):
                self.events.labels(door, event)

    def count_event(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A processor of structlog: counts what happens at a door by the event that tells of it."""
        door, _, word = str(event["event"]).partition("_")
        if door in EVENTS:
            self.events.labels(door, word if word in EVENTS[door] else "other").inc()
            if word in _KEPT and not event.get("renamed"):  # a file that was parked had its bytes counted then
                self.received.labels(door).inc(float(event.get("received") or 0))
            if word == "landed" and "found_by" in event:
                self.found.labels(str(event["found_by"])).inc()
        if event["event"] == "lead_pushed":
            self.count_push(str(event["source"]), Outcome(event["outcome"]), datetime.now(UTC))
        return event

    def count_push(self, source: str, outcome: Outcome, at: datetime) -> None:
        """Counts a lead that came by itself; its gathering is no delivery that ends."""
        self.rows.labels(source, outcome).inc()
        if outcome is not Outcome.REJECTED:
            self.succeeded({source: at})

    def count_delivery(self, delivery: Delivery) -> None:
        """Counts a delivery that has ended, and its records."""
        self.deliveries.labels(delivery.source, delivery.state).inc()
        for outcome in Outcome:
            self.rows.labels(delivery.source, outcome).inc(getattr(delivery.counts, outcome))
        for stage, seconds in json.loads(delivery.timings or "{}").items():
            self.stage.labels(stage).observe(seconds)
        if delivery.finished_at is None:
            return
        if delivery.started_at is not None:  # a duplicate ends as it comes, and would only flatter
            self.delivery.observe(max(0.0, (delivery.finished_at - delivery.received_at).total_seconds()))
        if delivery.state in _SUCCESS:
            self.succeeded({delivery.source: delivery.finished_at})

    def succeeded(self, sources: Mapping[str, datetime]) -> None:
        """Notes when each source was last loaded."""
        for source, moment in sources.items():
            self.success.labels(source).set(moment.timestamp())


def of_role(name: str) -> Metrics:
    """The metrics of this process, as the role `name`; in the shared folder when the supervisor set one up."""
    if os.environ.get(FOLDER_VARIABLE):
        # No two processes have the same role name at the same time: that is all the library asks of it.
        values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]  # the library's
    return Metrics(CollectorRegistry())
