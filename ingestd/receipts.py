"""Receipts: what became of a file, for the partner's programs. Kept light, so that listing deliveries is quick."""

from __future__ import annotations

import dataclasses
from typing import Any

from ingestd.model import Delivery, State

_OURS = "the file could not be loaded, and the fault is not in the file; it is kept, and an operator has to look at it"
"""Instead of our own error, which speaks of our machines."""


def receipt(delivery: Delivery) -> dict[str, Any]:
    """What became of a file, for the partner's programs."""
    told = {
        "delivery": delivery.id,
        "file": delivery.name,
        "bytes": delivery.size,
        "sha256": delivery.sha256,
        "received_at": delivery.received_at.isoformat(),
        "finished_at": delivery.finished_at.isoformat() if delivery.finished_at else None,
        "state": delivery.state,
        "completeness": delivery.completeness,
        "completeness_evidence": delivery.evidence,
        "lead_pool": delivery.pool_id,
        "counts": dataclasses.asdict(delivery.counts),
    }
    if delivery.state is State.DUPLICATE:
        told["duplicate_of"] = delivery.duplicate_of
    if delivery.reason_code:
        message = _OURS if delivery.state is State.FAILED else delivery.reason
        told["reason"] = {"code": delivery.reason_code, "message": message, "suggestion": delivery.suggestion}
    return told
