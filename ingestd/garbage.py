"""How seldom Python looks for garbage that refers to itself. What a program makes while it starts stays for good, and
to go through it again and again takes a third of the start."""

from __future__ import annotations

import atexit
import gc

SELDOM = 50_000
"""New objects between two looks while a command runs; Python's own are 700."""
_OWN = gc.get_threshold()


def look_seldom() -> None:
    """For a command, which is over soon; at its end the garbage goes with the process."""
    gc.set_threshold(SELDOM)
    atexit.register(gc.freeze)


def keep_what_is_there() -> None:
    """For a process that has started and goes on: never again looks at what it has by now, at the rest as Python does.

    Going through all of it would hold up everybody now and then, for a tenth of a second.
    """
    gc.freeze()
    gc.set_threshold(*_OWN)
