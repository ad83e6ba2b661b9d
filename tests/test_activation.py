"""Sockets that systemd hands over; the real tool is used in test_systemd.py."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ingestd import activation
from ingestd.errors import Misconfigured
from tests.running import ROOT, example_config

PARENT = """
import os, socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in sys.argv[2].split(":")]
for number, each in enumerate(sockets, 3):
    os.dup2(each.fileno(), number + 50, inheritable=True)
for number, _ in enumerate(sockets, 3):
    os.dup2(number + 50, number, inheritable=True)
    os.close(number + 50)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
LOOK = "import os; from ingestd import activation; print(activation.here(), 'LISTEN_FDS' in os.environ)"


def handed(names: str, program: str = LOOK) -> subprocess.CompletedProcess[str]:
    """A process that gets a listening socket for each name, from descriptor 3 on."""
    command = [sys.executable, "-c", PARENT, program, names]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_socket_is_known_by_the_name_of_its_door() -> None:
    assert handed("sftp:ftp").stdout == "{'sftp': 3, 'ftp': 4} False\n"


def test_a_name_that_is_no_door_is_refused_with_those_that_are() -> None:
    told = handed("telnet").stderr
    assert "no door is called 'telnet'; FileDescriptorName= may be ftp, ftps, sftp, http" in told


def test_two_sockets_for_one_door_are_refused() -> None:
    assert "two sockets are called 'ftp'" in handed("ftp:ftp").stderr


def test_sockets_for_another_process_are_left_alone() -> None:
    assert activation.handed_over({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "ftp"}, 2) == {}
    assert activation.handed_over({}, 2) == {}


def test_what_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as idle, (ROOT / "README.md").open() as file:
        for descriptor in (idle.fileno(), file.fileno()):
            monkeypatch.setattr(activation, "FIRST", descriptor)
            with pytest.raises(Misconfigured, match="is no listening TCP socket"):
                activation.handed_over({"LISTEN_PID": "5", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "ftp"}, 5)
            os.fstat(descriptor)  # still open: it is not ours to close


def test_serve_ends_with_78_when_a_socket_is_for_no_door(tmp_path: Path) -> None:
    config = example_config(tmp_path)
    words = ["serve", "--config", str(config), "--home", str(tmp_path / "home")]
    program = f"import sys; sys.argv = ['ingestd', *{words!r}]; from ingestd.cli import main; main()"
    done = handed("telnet", program)
    assert done.returncode == 78
    assert "LISTEN_FDNAMES" in done.stderr
