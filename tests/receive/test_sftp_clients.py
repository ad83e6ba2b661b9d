"""The clients that partners have: OpenSSH's sftp with key and with password, curl, asyncssh."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from ingestd.accounts import InMemoryAccounts
from ingestd.model import Completeness
from ingestd.receive.sftp import SftpDoor
from ingestd.spool import Spool
from tests.receive.receiving import LIMIT, PASSWORD, MemoryLedger, files_below
from tests.receive.sftp_client import SftpClient

ROWS = b"name,phone\nAda,+4533330000\n" * 5000


class Machine:
    """A partner's machine, with a key, the fingerprint of ours, and a file to send."""

    def __init__(self, folder: Path, door: SftpDoor, host_key: asyncssh.SSHKey) -> None:
        self.folder = folder
        self.port = str(door.address[1])
        folder.mkdir()
        self.key = folder / "id_ed25519"
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "partner", "-f", str(self.key)]
        subprocess.run(made, check=True, capture_output=True)
        line = host_key.export_public_key().decode()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {line}", encoding="utf-8")
        ask = folder / "ask"
        ask.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n", encoding="utf-8")
        ask.chmod(0o700)
        (folder / "leads.csv").write_bytes(ROWS)

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text(encoding="utf-8").strip()

    def sftp(self, *commands: str, options: tuple[str, ...] = (), password: bool = False) -> tuple[int, str]:
        """Exit code and output of a batch."""
        (self.folder / "batch").write_text("\n".join(commands) + "\n", encoding="utf-8")
        given = ["-F", "none", "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", *options, "-P", self.port]
        given += ["-o", "BatchMode=no", "-o", "IdentitiesOnly=yes"]
        given += ["-o", "PubkeyAuthentication=no"] if password else ["-i", str(self.key)]
        environment = {**os.environ, "SSH_ASKPASS": str(self.folder / "ask"), "SSH_ASKPASS_REQUIRE": "force"}
        environment.pop("SSH_AUTH_SOCK", None)
        command = ["sftp", *given, "-b", "batch", "acme@127.0.0.1"]
        ran = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    def scp(self, *arguments: str) -> tuple[int, str]:
        """OpenSSH 9 and later speak SFTP here."""
        given = ["-F", "none", "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", "-o", "IdentitiesOnly=yes"]
        command = ["scp", *given, "-s", "-B", "-i", str(self.key), "-P", self.port, *arguments]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=30, check=False)
        return ran.returncode, ran.stdout + ran.stderr

    def lftp(self, commands: str) -> tuple[int, str]:
        connect = f"ssh -a -x -F none -o UserKnownHostsFile={self.folder / 'known_hosts'} -i {self.key}"
        settings = f"set sftp:connect-program '{connect}'; set net:max-retries 1; set cmd:fail-exit yes; "
        command = ["lftp", "-c", f"{settings} open -u acme,none -p {self.port} sftp://127.0.0.1; {commands}"]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=30, check=False)
        return ran.returncode, ran.stdout + ran.stderr

    def curl(self, *arguments: str) -> tuple[int, str]:
        command = ["curl", "-sS", "-k", "-u", f"acme:{PASSWORD}", *arguments]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=30, check=False)
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def machine(tmp_path: Path, sftp_door: SftpDoor, host_key: asyncssh.SSHKey, accounts: InMemoryAccounts) -> Machine:
    found = Machine(tmp_path / "partner", sftp_door, host_key)
    acme = accounts.find("acme")
    assert acme is not None
    accounts.replace([replace(acme, public_keys=(found.public_key,))])
    return found


@pytest.mark.parametrize("password", [False, True], ids=["key", "password"])
def test_openssh_sends_a_file(machine: Machine, ledger: MemoryLedger, spool: Spool, password: bool) -> None:
    code, told = machine.sftp("put leads.csv upload/", password=password)
    assert code == 0, told
    ((arrival, landed),) = ledger.rows
    assert (arrival.name, arrival.completeness) == ("leads.csv", Completeness.PROVEN)
    assert spool.read(landed.key) == ROWS


def test_openssh_with_all_that_it_can_do(machine: Machine, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Times kept, folder made, written first and renamed, results listed and fetched."""
    results = tmp_path / "homes" / "acme" / "results"
    results.mkdir(parents=True)
    (results / "old.csv.receipt.json").write_text("{}", encoding="utf-8")
    code, told = machine.sftp(
        "pwd",
        "put -p leads.csv upload/a.csv",
        "mkdir upload/DK-FIBRE",
        "cd upload/DK-FIBRE",
        "put -f leads.csv b.csv.part",
        "rename b.csv.part b.csv",
        "cd /",
        "ls -l results",
        "get results/old.csv.receipt.json",
        "df",
    )
    assert code == 0, told
    assert "Remote working directory: /" in told
    assert [(arrival.folder, arrival.name) for arrival in ledger.arrivals] == [("", "a.csv"), ("DK-FIBRE", "b.csv")]
    assert (machine.folder / "old.csv.receipt.json").read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("put leads.csv results/x.csv", "Permission denied"),
        ("put large.csv upload/", "Failure"),
        ("reput leads.csv upload/x.csv.part", "Failure"),
        ("rm results", "Permission denied"),
        ("ln -s /etc/passwd upload/x", "SYMLINK|unsupported"),
    ],
)
def test_openssh_is_told_of_a_refusal(
    machine: Machine, ledger: MemoryLedger, tmp_path: Path, command: str, told: str
) -> None:
    """It shows the code only; its exit code is 1, and nothing was kept."""
    (machine.folder / "large.csv").write_bytes(b"x" * (LIMIT + 1))
    machine.sftp("put batch upload/x.csv.part")
    code, said = machine.sftp(command)
    assert code == 1
    assert any(word in said for word in told.split("|")), said
    assert ledger.rows == []
    assert files_below(tmp_path / "spool") == []


def test_openssh_warns_of_another_key(machine: Machine, ledger: MemoryLedger) -> None:
    """The test's own check: with the wrong key in `known_hosts` nothing is sent."""
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (machine.folder / "known_hosts").write_text(f"[127.0.0.1]:{machine.port} {stranger}", encoding="utf-8")
    code, told = machine.sftp("put leads.csv upload/")
    assert code == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in told
    assert ledger.rows == []


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys(machine: Machine, accounts: InMemoryAccounts, ledger: MemoryLedger, kind: str) -> None:
    """RSA keys sign with SHA-2."""
    machine.key = machine.folder / f"id_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(machine.key)], check=True)
    acme = accounts.find("acme")
    assert acme is not None
    accounts.replace([replace(acme, public_keys=(machine.public_key,))])
    code, told = machine.sftp("put leads.csv upload/")
    assert code == 0, told
    assert len(ledger.rows) == 1


def test_curl_sends_a_file(machine: Machine, ledger: MemoryLedger, spool: Spool) -> None:
    """Into a campaign's folder that it makes itself; libssh2 has no etm and no gcm."""
    url = f"sftp://127.0.0.1:{machine.port}/upload/DK-FIBRE/leads.csv"
    code, told = machine.curl("--ftp-create-dirs", "-T", "leads.csv", url)
    assert code == 0, told
    ((arrival, landed),) = ledger.rows
    assert (arrival.folder, arrival.name) == ("DK-FIBRE", "leads.csv")
    assert spool.read(landed.key) == ROWS


def test_curl_fetches_and_is_refused(machine: Machine, tmp_path: Path, ledger: MemoryLedger) -> None:
    results = tmp_path / "homes" / "acme" / "results"
    results.mkdir(parents=True)
    (results / "r.json").write_text("{}", encoding="utf-8")
    assert machine.curl(f"sftp://127.0.0.1:{machine.port}/results/r.json") == (0, "{}")
    assert "r.json" in machine.curl(f"sftp://127.0.0.1:{machine.port}/results/")[1]
    assert machine.curl("-T", "leads.csv", f"sftp://127.0.0.1:{machine.port}/results/x.csv")[0] != 0
    (machine.folder / "large.csv").write_bytes(b"x" * (LIMIT + 1))
    assert machine.curl("-T", "large.csv", f"sftp://127.0.0.1:{machine.port}/upload/large.csv")[0] != 0
    assert ledger.rows == []


def test_scp_sends_a_file(machine: Machine, ledger: MemoryLedger) -> None:
    """With its times; `-s` asks for SFTP, as newer versions do by themselves."""
    code, told = machine.scp("-p", "leads.csv", "acme@127.0.0.1:upload/")
    assert code == 0, told
    assert [(arrival.name, landed.size) for arrival, landed in ledger.rows] == [("leads.csv", len(ROWS))]


@pytest.mark.skipif(shutil.which("lftp") is None, reason="lftp is not installed")
def test_lftp_sends_files(machine: Machine, ledger: MemoryLedger) -> None:
    """One by one, and a whole folder."""
    (machine.folder / "out").mkdir()
    for name in ("a.csv", "b.csv"):
        (machine.folder / "out" / name).write_bytes(ROWS)
    code, told = machine.lftp("put leads.csv -o upload/leads.csv; mirror -R out upload")
    assert code == 0, told
    assert {(arrival.name, landed.size) for arrival, landed in ledger.rows} == {
        (name, len(ROWS)) for name in ("leads.csv", "a.csv", "b.csv")
    }


def test_asyncssh_puts_and_looks(sftp: SftpClient, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Its `put` writes pieces in parallel; then the size is compared, as paramiko's `put(confirm=True)` does."""
    (tmp_path / "x.csv").write_bytes(ROWS)
    sftp.run(sftp.client.put(tmp_path / "x.csv", b"upload/x.csv", block_size=4096, preserve=True))
    assert sftp.do("getsize", "upload/x.csv") == len(ROWS)
    assert ledger.rows[0][1].size == len(ROWS)
