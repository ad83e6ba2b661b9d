"""The pulse of a role: every loop says that it advances, and one thread tells the supervisor which one does not.

A process that hangs as a whole tells nothing any more, which the supervisor hears too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PULSE_SECONDS = 0.5
"""How often a role speaks to the supervisor."""

Clock = Callable[[], float]


class Loop:
    """One loop; calling it says that it has advanced."""

    def __init__(self, allowance: float, clock: Clock) -> None:
        self._allowance = allowance
        self._clock = clock
        self._at = clock()

    def __call__(self) -> None:
        """The loop has advanced. Safe from any thread."""
        self._at = self._clock()

    def overdue(self) -> float:
        """Seconds since the last advance, beyond what one turn of this loop may take."""
        return max(0.0, self._clock() - self._at - self._allowance)


@dataclass(kw_only=True)
class Pulse:
    """The loops of this process."""

    clock: Clock = time.monotonic
    loops: dict[str, Loop] = field(default_factory=dict)

    def loop(self, name: str, *, allowance: float = 1.0) -> Loop:
        """A loop that is watched from now on; one turn of it may take `allowance` seconds."""
        self.loops[name] = Loop(allowance, self.clock)
        return self.loops[name]

    def overdue(self) -> dict[str, float]:
        """Seconds by loop, of the loops that are late."""
        late = {name: round(loop.overdue(), 1) for name, loop in tuple(self.loops.items())}
        return {name: seconds for name, seconds in late.items() if seconds > 0}

    def start(self, told: int) -> None:
        """Tells the supervisor on a pipe from now on, in a thread of its own."""
        os.set_blocking(told, False)
        threading.Thread(target=self._tell, args=(told,), name="pulse", daemon=True).start()

    def _tell(self, told: int) -> None:
        pause = threading.Event()
        while True:
            try:
                os.write(told, json.dumps({"overdue": self.overdue()}).encode() + b"\n")
            except BlockingIOError:
                pass  # the supervisor is held up and has enough to read
            except OSError:
                return  # it is gone; the lifeline ends this process
            pause.wait(PULSE_SECONDS)
