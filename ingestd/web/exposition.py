"""`/metrics`: what the roles counted, and what is seen at the moment of asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ingestd.web.health import up
from ingestd.web.observer import Observation


@dataclass(frozen=True, eq=False)  # a registry tells collectors apart by identity
class Seen(Collector):
    """An observation as gauges."""

    seen: Observation

    def collect(self) -> Iterable[Metric]:
        """Without a database its numbers are left out: a zero would be a lie."""
        yield _gauge("ingestd_store_up", "1 while the database answers.", not self.seen.store_problem)
        answers = not self.seen.storage_problem
        yield _gauge("ingestd_storage_up", "1 while the storage of received files answers.", answers)
        if self.seen.queue:
            yield from self._queue()
        yield _gauge("ingestd_spool_free_bytes", "Bytes free where received files are kept.", self.seen.spool_free)
        roles = GaugeMetricFamily(
            "ingestd_role_up", "1 while the role is alive and its loops advance.", labels=["role"]
        )
        for name, alive in up(self.seen.roster, self.seen).items():
            roles.add_metric([name], float(alive))
        yield roles

    def _queue(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily(
            "ingestd_queue_jobs", "Deliveries that wait for a worker or are in one.", labels=["state"]
        )
        for state in ("ready", "running"):
            jobs.add_metric([state], self.seen.queue[state])
        yield jobs
        oldest = self.seen.queue["oldest_seconds"]
        yield _gauge("ingestd_queue_oldest_seconds", "How long the oldest waiting delivery has been queued.", oldest)
        yield _gauge(
            "ingestd_deliveries_waiting", "Deliveries that wait for proof that they are whole.", self.seen.waiting
        )


def render(seen: Observation, folder: Path, accept: str) -> tuple[bytes, str]:
    """The page in the format that the reader accepts, and its content type."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # the library's
    registry.register(Seen(seen))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, value=float(value))
