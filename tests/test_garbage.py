"""How seldom a command looks for garbage, and what a process that goes on never looks at again."""

from __future__ import annotations

import subprocess
import sys

STARTED = """
import gc
own = gc.get_threshold()
from ingestd import garbage
garbage.look_seldom()
while_starting, there = gc.get_threshold(), len(gc.get_objects())
garbage.keep_what_is_there()
print(own[0], while_starting[0], gc.get_threshold() == own, gc.get_freeze_count() >= there)
"""


def test_a_start_looks_seldom_and_what_it_made_is_never_looked_at_again() -> None:
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True)
    own, starting, *rest = done.stdout.split()
    assert int(starting) > 10 * int(own)
    assert rest == ["True"] * 2
