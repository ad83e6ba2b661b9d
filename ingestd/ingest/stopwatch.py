"""How long each stage of the road took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Stopwatch:
    """Seconds spent in each stage of one trip; a stage that is entered twice adds up."""

    clock: Callable[[], float] = time.perf_counter
    ended: dict[str, float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    """stage → when it was entered"""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures what is done inside."""
        self.running[name] = self.clock()
        try:
            yield
        finally:
            self.ended[name] = self.ended.get(name, 0.0) + self.clock() - self.running.pop(name)

    @property
    def total(self) -> float:
        """Seconds in all stages that have ended."""
        return sum(self.ended.values())

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, to a tenth of a millisecond; of a stage that still runs, so far."""
        here = {name: self.clock() - begun for name, begun in self.running.items()}
        names = [*self.ended, *(name for name in here if name not in self.ended)]
        return {name: round(self.ended.get(name, 0.0) + here.get(name, 0.0), 4) for name in names}
