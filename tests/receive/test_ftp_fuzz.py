"""A few hundred random sessions; `python -m tests.fuzz_ftp` plays as many as one likes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fuzz_ftp import fuzz

EXAMPLES = int(os.environ.get("INGESTD_FUZZ_EXAMPLES", "200"))


def test_no_session_breaks_the_door_or_leaves_its_home(tmp_path: Path) -> None:
    fuzz(tmp_path, EXAMPLES)
