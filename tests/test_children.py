"""What the supervisor makes of what a child says, and of its silence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ingestd import children
from ingestd.children import START_SECONDS, Child, Handed
from tests.running import ROOT


@pytest.fixture
def child() -> Iterator[Child]:
    """A child with a process that lives and a pipe that the test speaks into."""
    heard, said = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    made = Child(role="receiver", name="receiver", process=process, told=heard, heard_at=time.monotonic())
    made.speak = lambda text: os.write(said, text)  # type: ignore[attr-defined]
    yield made
    process.communicate()
    made.close()
    os.close(said)


def say(child: Child, text: bytes) -> list[dict[str, object]]:
    child.speak(text)  # type: ignore[attr-defined]
    return child.hear()


def test_what_comes_in_pieces_is_put_together(child: Child) -> None:
    assert say(child, b'{"doors": {"ftp"') == []
    assert say(child, b': {}}}\n{"overdue": {}}\n{"over') == [{"doors": {"ftp": {}}}, {"overdue": {}}]


def test_a_loop_that_is_late_grows_later_until_it_is_heard_again(child: Child) -> None:
    say(child, b'{"overdue": {"ftp": 4.0}}\n')
    assert child.overdue(child.heard_at + 3) == 7.0
    say(child, b'{"overdue": {}}\n')
    assert child.overdue(child.heard_at + 1) == 1.0


def test_silence_is_being_late(child: Child) -> None:
    assert child.overdue(child.heard_at + 25) == 25.0


def test_nobody_is_late_between_two_lives(child: Child) -> None:
    child.kill()
    assert child.overdue(child.heard_at + 25) == 0.0
    assert child.state().state == "down"
    assert child.buried() == -9
    assert child.restarts == 1


def test_a_start_may_take_a_minute(tmp_path: object) -> None:
    made = Child(role="worker", name="worker-1")
    heard, said = os.pipe()
    handed = Handed(
        config=ROOT,
        home=ROOT,
        lifeline=heard,
        doorbell=heard,
        lock=said,
        node=1,
        sockets={},
        environment={**os.environ, "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"},
    )
    begun = time.monotonic()
    made.start(handed, begun)
    try:
        assert made.overdue(begun + START_SECONDS - 1) == 0.0
    finally:
        made.kill()
        made.close()
        os.close(heard)
        os.close(said)


def test_the_doors_start_first_and_the_web_role_last() -> None:
    assert [each.name for each in children.of(receiver=True, workers=2, results=True, web=True)] == [
        "receiver",
        "worker-1",
        "worker-2",
        "results",
        "web",
    ]
    assert [each.name for each in children.of(receiver=False, workers=1, results=False, web=False)] == ["worker-1"]
