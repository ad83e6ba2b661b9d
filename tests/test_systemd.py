"""The units: what systemd makes of them, and that the program lives with what they take away."""

from __future__ import annotations

import ftplib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd import samples
from ingestd.model import State
from tests.running import PATIENCE_SECONDS, ROOT, Daemon, until

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd's programs are not installed")

UNITS = ROOT / "systemd"
MOST_EXPOSED = 1.5

CONFINED = [sys.executable, "-m", "tests.confinement"]


def analysed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)


def settings(unit: str) -> list[tuple[str, str]]:
    lines = (UNITS / unit).read_text(encoding="utf-8").splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines) if re.match(r"[A-Z]\w+$", key)]


def confined(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program under what the unit takes away."""
    command = [*CONFINED, sys.executable, *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a program that is there."""
    for path in UNITS.iterdir():
        text = path.read_text(encoding="utf-8").replace("/opt/ingestd/.venv/bin/ingestd", "/bin/true")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_service_is_exposed_to_little(capsys: pytest.CaptureFixture[str]) -> None:
    done = analysed("security", "--offline=true", "--no-pager", UNITS / "ingestd.service")
    found = re.search(r"Overall exposure level for ingestd.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    with capsys.disabled():
        sys.stdout.write(f"\n{found[0]}\n")
    assert float(found[1]) <= MOST_EXPOSED


def test_systemd_understands_every_line(installed: Path) -> None:
    done = analysed("verify", "--man=no", installed / "ingestd.service", installed / "ingestd.socket")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_watchdog_and_the_stop_leave_time_for_what_the_daemon_does() -> None:
    from ingestd.settings import DaemonSettings  # noqa: PLC0415 - read in a clean environment

    known, unit = DaemonSettings(), dict(settings("ingestd.service"))
    assert int(unit["WatchdogSec"]) > known.watch.stuck_seconds + 60  # one busy turn of the database
    assert int(unit["TimeoutStopSec"]) > max(known.stop.load_seconds, known.stop.transfer_seconds) + 10
    assert unit["Type"] == "notify"
    assert unit["RestartPreventExitStatus"] == "78"


def test_the_socket_is_for_a_door_that_exists() -> None:
    from ingestd.activation import DOORS  # noqa: PLC0415 - beside what it is compared with

    assert dict(settings("ingestd.socket"))["FileDescriptorName"] in DOORS


def test_polars_needs_the_variable_of_the_unit() -> None:
    """If the first half fails one day, the variable can go."""
    words = ("-c", "import polars; print(polars.DataFrame({'a': [1, 2]}).select(polars.col('a').sum()).item())")
    without = confined(*words, POLARS_SKIP_CPU_CHECK="")
    assert without.returncode != 0
    assert "mprotect" in without.stderr
    assert confined(*words).stdout == "3\n"


def test_the_confinement_of_these_tests_is_one() -> None:
    """What the unit forbids fails here too, for root as well."""
    done = confined("-c", "import os; print(os.path.exists('/proc/self')); os.chroot('/')")
    assert done.stdout == "True\n"
    assert "PermissionError: [Errno 1]" in done.stderr


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon under what the unit takes away."""
    running = Daemon(tmp_path)
    running.before = CONFINED
    with running:
        yield running


def test_the_whole_daemon_lives_with_what_the_unit_takes_away(daemon: Daemon) -> None:
    assert daemon.send("nordlead", "confined.csv", samples.clean(200)).startswith("226")

    def loaded() -> bool:
        (delivery,) = daemon.house().ledger.latest(limit=1)
        return delivery.state is State.COMPLETED and delivery.published_at is not None

    until(loaded, "the file to be loaded")
    assert "not permitted" not in daemon.journal.read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def greeted(port: int) -> ftplib.FTP | None:
    """A client that the door has greeted; None while nobody listens yet."""
    client = ftplib.FTP()
    try:
        client.connect("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    except ConnectionRefusedError:
        return None
    return client


def test_systemd_opens_the_port(tmp_path: Path) -> None:
    """Socket activation by systemd's own tool: the door is at the port that systemd opened, and outlives a receiver."""
    activate = shutil.which("systemd-socket-activate")
    assert activate is not None
    daemon = Daemon(tmp_path)
    port = free_port()
    daemon.before = [activate, f"--listen=127.0.0.1:{port}", "--fdname=ftp"]
    process = daemon.launch()
    try:
        # The tool starts the daemon at the first connection, which waits in the queue and is answered by the door.
        with until(lambda: greeted(port), "an answer of the door") as client:
            assert client.getwelcome().startswith("220")
        until(daemon.endpoints.exists, "every door to be open")
        assert daemon.doors["ftp"]["port"] == port
        (receiver,) = daemon.children("receiver")
        os.kill(receiver, signal.SIGKILL)
        with until(lambda: greeted(port), "an answer of the successor") as client:  # never refused
            assert client.login("nordlead", "secret").startswith("230")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)
