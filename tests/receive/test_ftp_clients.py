"""Programs that partners use, against a real door: curl, lftp and Python's ftplib, in the clear and by TLS."""

from __future__ import annotations

import ftplib
import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.receive.ftp_wire import ROWS, trusting
from tests.receive.receiving import PASSWORD, MemoryLedger, OpenDoor

SIZES = [0, 1, 16_383, 16_384, 16_385, 65_536, 262_144, 900_001]
"""bytes: nothing, and around what TLS and the door take in one piece"""


@pytest.fixture
def full_door(open_door: Callable[..., OpenDoor]) -> OpenDoor:
    """Everything at once: in the clear, by AUTH, and by TLS from the first byte."""
    return open_door(tls="offered", implicit_port=0)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of files of many sizes."""
    folder = tmp_path / "files"
    folder.mkdir()
    for size in SIZES:
        (folder / f"{size}.csv").write_bytes((ROWS * (size // len(ROWS) + 1))[:size])
    return folder


def place(door: OpenDoor, scheme: str) -> str:
    host, port = (door.door.implicit_address if scheme == "ftps" else None) or door.address
    return f"{scheme}://{host}:{port}"


def run(*command: Any) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def landed(ledger: MemoryLedger) -> list[tuple[str, int, str, str]]:
    rows = sorted(ledger.rows, key=lambda row: row[1].size)
    return [(arrival.name, known.size, arrival.protocol, arrival.completeness.value) for arrival, known in rows]


def whole(protocol: str, completeness: str) -> list[tuple[str, int, str, str]]:
    return [(f"{size}.csv", size, protocol, completeness) for size in SIZES]


# --- curl

CURL = {"ftp": ("ftp", []), "explicit": ("ftp", ["--ssl-reqd"]), "implicit": ("ftps", [])}


@pytest.mark.parametrize("kind", CURL)
def test_curl_sends_files(full_door: OpenDoor, ledger: MemoryLedger, files: Path, kind: str) -> None:
    """It says close_notify, so that its files are proven."""
    scheme, more = CURL[kind]
    names = ",".join(f"{files}/{size}.csv" for size in SIZES)
    url = f"{place(full_door, scheme)}/upload/"
    run("curl", "-sS", "-k", *more, "-u", f"acme:{PASSWORD}", "-T", f"{{{names}}}", url)
    assert landed(ledger) == (whole("ftp", "assumed") if kind == "ftp" else whole("ftps", "proven"))


def test_curl_fetches_results_and_facts(full_door: OpenDoor, files: Path, certificate: Any) -> None:
    """Verifying the certificate, which it was given."""
    results = full_door.homes / "acme" / "results"
    results.mkdir(parents=True)
    (results / "x.csv.log.csv").write_bytes(ROWS)
    curl = ["curl", "-sS", "--cacert", certificate.chain, "--ssl-reqd", "-u", f"acme:{PASSWORD}"]
    url = f"{place(full_door, 'ftp')}/results/x.csv.log.csv"
    got = subprocess.run([*curl, url], capture_output=True, timeout=20, check=True).stdout
    assert got == ROWS
    assert f"Content-Length: {len(ROWS)}" in run(*curl, "-I", url)


# --- lftp

LFTP = "set ssl:verify-certificate no; set net:max-retries 1; set net:timeout 10; set ftp:ssl-protect-data true; "


def lftp(door: OpenDoor, scheme: str, commands: str, *, secure: bool) -> str:
    force = f"set ftp:ssl-allow {str(secure).lower()}; set ftp:ssl-force {str(secure).lower()}; "
    return run("lftp", "-c", f"{LFTP}{force}open -u acme,{PASSWORD} {place(door, scheme)}; {commands}")


LFTP_KINDS = {"ftp": ("ftp", False), "explicit": ("ftp", True), "implicit": ("ftps", True)}


@pytest.mark.parametrize("kind", LFTP_KINDS)
def test_lftp_mirrors_a_folder(
    full_door: OpenDoor, ledger: MemoryLedger, files: Path, kind: str, audited: list[Any]
) -> None:
    """A second mirror finds an empty folder, sends everything again, and is answered with duplicates."""
    scheme, secure = LFTP_KINDS[kind]
    mirror = f"mirror -R {files} upload"
    lftp(full_door, scheme, mirror, secure=secure)
    assert landed(ledger) == (whole("ftps", "proven") if secure else whole("ftp", "assumed"))
    lftp(full_door, scheme, mirror, secure=secure)
    assert len(ledger.loaded()) == len(SIZES)
    assert [said.duplicate_of is not None for said in ledger.recorded] == [False] * len(SIZES) + [True] * len(SIZES)
    assert not [line for line in audited if line["event"] in ("ftp_fault", "ftp_upload_fault")]


@pytest.mark.parametrize("kind", LFTP_KINDS)
def test_lftp_mirrors_results(full_door: OpenDoor, tmp_path: Path, kind: str) -> None:
    """Into a folder of the partner's."""
    scheme, secure = LFTP_KINDS[kind]
    results = full_door.homes / "acme" / "results"
    results.mkdir(parents=True)
    for number in range(5):
        (results / f"{number}.csv.log.csv").write_bytes(ROWS * number)
    lftp(full_door, scheme, f"mirror results {tmp_path}/got", secure=secure)
    got = {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()}
    assert got == {f"{number}.csv.log.csv": ROWS * number for number in range(5)}


# --- ftplib


@pytest.mark.parametrize("secure", [False, True])
def test_ftplib_sends_files(full_door: OpenDoor, ledger: MemoryLedger, files: Path, secure: bool) -> None:
    """`storbinary` ends TLS properly (it calls `unwrap`)."""
    ftp = ftplib.FTP_TLS(context=trusting(), encoding="utf-8") if secure else ftplib.FTP(encoding="utf-8")
    ftp.connect(*full_door.address, timeout=10)
    ftp.login("acme", PASSWORD)
    if isinstance(ftp, ftplib.FTP_TLS):
        ftp.prot_p()
    for size in SIZES:
        ftp.storbinary(f"STOR {size}.csv", io.BytesIO((files / f"{size}.csv").read_bytes()))
        assert ftp.size(f"{size}.csv") == size
    assert sorted(name for name, _ in ftp.mlsd("/")) == ["results", "upload"]
    ftp.quit()
    assert landed(ledger) == (whole("ftps", "proven") if secure else whole("ftp", "assumed"))
