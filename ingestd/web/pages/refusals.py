"""Why something cannot be done, as a notice beside the form that was sent: the reason, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingestd.errors import Refused, Rejected

_WAYS_OUT: Mapping[str, str] = {
    "pool_in_use": "Its leads stay as they are. Deactivate the pool, so that no more of them are called, or correct "
    "single leads in Lead Admin.",
    "pool_without_file": "Take single leads out of use in Lead Admin.",
    "pool_state": "Look at the delivery and its pool as they are now.",
    "not_rerunnable": "Wait until it has ended, or cancel it while no worker has begun it.",
    "not_awaiting": "Look at the delivery as it is now; somebody may have been quicker.",
    "source_inactive": "Take the source in again, or leave the mapping of later files alone.",
    "mapping_unusable": "Choose another field for what is named, and send the form again.",
    "loaded_since": "Look at that delivery: it can be undone or run again in its turn.",
    "permission_missing": "Ask an administrator for the permission, or do it without.",
    "not_a_table": "Ask the sender for a file that is a table.",
}
"""By code, what a person can do who has no better suggestion."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a notice says."""

    code: str
    message: str
    todo: str


def of(problem: Refused | Rejected) -> Refusal:
    """A refusal in the words of a page."""
    suggestion = problem.suggestion if isinstance(problem, Rejected) else ""
    return Refusal(code=problem.code, message=problem.message, todo=suggestion or _WAYS_OUT.get(problem.code, ""))
