"""Exit codes of the command line, as in WEB.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestd.errors import EXIT_MISCONFIGURED

if TYPE_CHECKING:
    from ingestd.model import State

OK, FAILURE, USAGE, WITH_REJECTS, REFUSED, CONFIGURATION = 0, 1, 2, 3, 4, EXIT_MISCONFIGURED


def code_of(state: State) -> int:
    """How a command ends that followed a delivery to this state."""
    from ingestd.model import State

    codes = {
        State.COMPLETED: OK,
        State.DUPLICATE: OK,
        State.COMPLETED_WITH_REJECTS: WITH_REJECTS,
        State.REFUSED: REFUSED,
        State.AWAITING_CONFIRMATION: REFUSED,
    }
    return codes.get(state, FAILURE)
