"""The daemon from outside: processes, doors, takeover, stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd import samples
from ingestd.model import State
from tests.running import Daemon, until


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def state_of(daemon: Daemon, name: str) -> State | None:
    found = [each for each in daemon.house().ledger.latest(limit=99) if each.name == name]
    return found[0].state if found and found[0].published_at else None


def test_a_file_sent_by_ftp_becomes_a_pool_and_its_results_come_back(daemon: Daemon) -> None:
    answer = daemon.send("nordlead", "one.csv", samples.clean(50))
    assert answer.startswith("226 delivery ")
    until(lambda: state_of(daemon, "one.csv") is State.COMPLETED, "one.csv to be loaded")
    with daemon.ftp("nordlead") as client:
        assert "one.csv.receipt.json" in client.nlst("results")


def test_a_file_moved_into_the_drop_folder_is_loaded_and_answered_beside_it(daemon: Daemon) -> None:
    folder = Path(daemon.doors["folder"]["path"]) / "stadtwerk"
    (folder / "kunden.csv.part").write_bytes(samples.german(20))
    (folder / "kunden.csv.part").rename(folder / "kunden.csv")
    until(lambda: state_of(daemon, "kunden.csv") is State.COMPLETED, "kunden.csv to be loaded")
    assert not (folder / "kunden.csv").exists()
    until((folder / "done" / "kunden.csv.receipt.json").exists, "its results")
    assert (folder / "done" / "kunden.csv").read_bytes() == samples.german(20)


def test_a_killed_worker_is_replaced_and_takes_nothing_with_it(daemon: Daemon) -> None:
    before = daemon.children("worker")
    os.kill(before[0], signal.SIGKILL)
    answer = daemon.send("nordlead", "after-kill.csv", samples.clean(30, start=1_000))  # the doors stay open
    assert answer.startswith("226")
    until(lambda: state_of(daemon, "after-kill.csv") is State.COMPLETED, "the file to be loaded by the successor")
    assert daemon.children("worker") != before


def test_a_killed_receiver_opens_the_same_port_again(daemon: Daemon) -> None:
    port = daemon.doors["ftp"]["port"]
    (receiver,) = daemon.children("receiver")
    os.kill(receiver, signal.SIGKILL)

    def back() -> bool:
        try:
            with daemon.ftp("nordlead") as client:
                return client.port == port
        except OSError:
            return False

    until(back, "the FTP door to be open again")


def test_a_second_daemon_in_the_same_home_is_refused(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "ingestd", "serve", "--config", str(daemon.config), "--home", str(daemon.home)]
    done = subprocess.run(command, env=daemon.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "another ingestd uses this home" in done.stderr


def test_children_die_with_a_killed_daemon_and_a_new_one_takes_over(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path).start()
    children = daemon.children("worker") + daemon.children("receiver")
    assert len(children) == 2
    daemon.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the children to end")
    with daemon.start():
        assert daemon.send("nordlead", "again.csv", samples.clean(5)).startswith("226")
        until(lambda: state_of(daemon, "again.csv") is State.COMPLETED, "again.csv to be loaded")


def test_a_stop_ends_everything_and_closes_the_doors(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path).start()
    children = daemon.children("worker") + daemon.children("receiver")
    assert daemon.stop() == 0
    assert not daemon.endpoints.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
