"""What is counted, and that Prometheus can read it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ingestd import journal
from ingestd.metrics import EVENTS, Metrics
from ingestd.model import Completeness, Counts, Delivery, Outcome, State
from tests.running import ROOT
from tests.test_docs import events

RECEIVED = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

DELIVERY = Delivery(
    id=1, source="nordlead", login="nordlead", peer="192.0.2.1", protocol="ftp", name="a.csv", folder="", size=100,
    sha256="", received_at=RECEIVED, state=State.COMPLETED_WITH_REJECTS, epoch=1, attempts=1,
    completeness=Completeness.ASSUMED, evidence="", spool_key="", started_at=RECEIVED + timedelta(seconds=1),
    finished_at=RECEIVED + timedelta(seconds=3), timings=json.dumps({"read": 0.5, "load": 1.5}),
    counts=Counts(records=10, inserted=8, rejected=2),
)  # fmt: skip


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def happens(metrics: Metrics, name: str, **facts: object) -> None:
    event = {"event": name, **facts}
    assert metrics.count_event(None, "info", dict(event)) == event


def test_what_happens_at_a_door_is_counted_by_its_event(registry: CollectorRegistry, metrics: Metrics) -> None:
    happens(metrics, "ftp_login", login="nordlead")
    happens(metrics, "sftp_login")
    happens(metrics, "sftp_login")
    happens(metrics, "delivery_ended")
    count = registry.get_sample_value
    assert count("ingestd_door_events_total", {"door": "ftp", "event": "login"}) == 1
    assert count("ingestd_door_events_total", {"door": "sftp", "event": "login"}) == 2


def test_an_event_nobody_listed_does_not_make_a_series_of_its_own(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    happens(metrics, "ftp_surprise")
    assert registry.get_sample_value("ingestd_door_events_total", {"door": "ftp", "event": "other"}) == 1


def test_every_event_of_a_door_in_the_code_is_listed() -> None:
    found = [event.partition("_")[::2] for event in events()]
    missing = {f"{door}_{word}" for door, word in found if door in EVENTS and word not in EVENTS[door]}
    assert missing == set()


def test_bytes_are_counted_when_they_are_kept_and_once(registry: CollectorRegistry, metrics: Metrics) -> None:
    happens(metrics, "ftp_upload_landed", received=100)
    happens(metrics, "ftp_upload_cut", received=999)
    happens(metrics, "ftp_upload_parked", received=40)
    happens(metrics, "ftp_upload_landed", received=40, renamed=True)  # the parked one under its final name
    happens(metrics, "folder_landed", received=7, found_by="scan")
    assert registry.get_sample_value("ingestd_received_bytes_total", {"door": "ftp"}) == 140
    assert registry.get_sample_value("ingestd_received_bytes_total", {"door": "folder"}) == 7
    assert registry.get_sample_value("ingestd_folder_found_total", {"by": "scan"}) == 1


def test_a_delivery_counts_its_rows_its_stages_and_its_time(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.count_delivery(DELIVERY)
    count = registry.get_sample_value
    assert count("ingestd_deliveries_total", {"source": "nordlead", "state": "completed_with_rejects"}) == 1
    rows = {outcome: count("ingestd_rows_total", {"source": "nordlead", "outcome": outcome}) for outcome in Outcome}
    assert rows == {outcome: {"inserted": 8.0, "rejected": 2.0}.get(outcome, 0.0) for outcome in Outcome}
    assert count("ingestd_stage_seconds_sum", {"stage": "load"}) == 1.5
    assert count("ingestd_delivery_seconds_sum") == 3.0
    succeeded = count("ingestd_last_success_timestamp_seconds", {"source": "nordlead"})
    assert succeeded == (RECEIVED + timedelta(seconds=3)).timestamp()


def test_a_refused_delivery_is_no_success_and_a_duplicate_takes_no_time(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.count_delivery(replace(DELIVERY, state=State.REFUSED))
    metrics.count_delivery(replace(DELIVERY, state=State.DUPLICATE, started_at=None, timings="", counts=Counts()))
    assert registry.get_sample_value("ingestd_last_success_timestamp_seconds", {"source": "nordlead"}) is None
    assert registry.get_sample_value("ingestd_delivery_seconds_count") == 1


def test_the_doors_begin_at_zero(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.open_doors()
    value = registry.get_sample_value("ingestd_door_events_total", {"door": "folder", "event": "rejected"})
    assert value == 0


def test_names_are_as_prometheus_wants_them(registry: CollectorRegistry, metrics: Metrics) -> None:
    """As `promtool check metrics` has it: counters end with _total, units are base units, no type is in a name."""
    metrics.open_doors()
    metrics.count_delivery(DELIVERY)
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        assert family.name.startswith("ingestd_")
        assert family.documentation
        if family.type == "counter":
            assert {sample.name for sample in family.samples} <= {f"{family.name}_total", f"{family.name}_created"}
        assert not family.name.endswith(("_counter", "_gauge", "_milliseconds", "_ms", "_kilobytes", "_minutes"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


CHILD = """
from ingestd import metrics
counted = metrics.of_role("{name}")
counted.events.labels("ftp", "login").inc({times})
counted.succeeded({{"nordlead": __import__("datetime").datetime.fromtimestamp({moment})}})
"""


def test_a_role_goes_on_counting_where_its_predecessor_stopped(tmp_path: Path) -> None:
    """Named by role and not by process: no file is left behind by a role that dies again and again."""
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415 - looks at its environment

    for name, times, moment in (("receiver", 2, 500), ("receiver", 3, 400), ("worker-1", 1, 300)):
        program = CHILD.format(name=name, times=times, moment=moment)
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    assert registry.get_sample_value("ingestd_door_events_total", {"door": "ftp", "event": "login"}) == 6
    assert registry.get_sample_value("ingestd_last_success_timestamp_seconds", {"source": "nordlead"}) == 400
    assert {path.stem.rpartition("_")[2] for path in tmp_path.iterdir()} == {"receiver", "worker-1"}


def test_the_journal_shows_every_event_to_who_counts(metrics: Metrics, registry: CollectorRegistry) -> None:
    import structlog  # noqa: PLC0415 - configured and undone here

    before = structlog.get_config()
    try:
        journal.configure("receiver", count=metrics.count_event)
        structlog.get_logger().info("ftp_login", peer="192.0.2.1")
    finally:
        structlog.configure(**before)
    assert registry.get_sample_value("ingestd_door_events_total", {"door": "ftp", "event": "login"}) == 1


def test_the_command_line_does_not_load_it() -> None:
    program = (
        "import sys; from ingestd import cli; print([m for m in sys.modules if 'prometheus' in m or 'fastapi' in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_lead_that_came_by_itself_is_counted_as_a_row_of_its_source(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    happens(metrics, "lead_pushed", source="nordlead", outcome="rejected")
    success = "ingestd_last_success_timestamp_seconds"
    assert registry.get_sample_value(success, {"source": "nordlead"}) is None
    happens(metrics, "lead_pushed", source="nordlead", outcome="inserted")
    for outcome in ("rejected", "inserted"):
        assert registry.get_sample_value("ingestd_rows_total", {"source": "nordlead", "outcome": outcome}) == 1
    assert registry.get_sample_value(success, {"source": "nordlead"})
