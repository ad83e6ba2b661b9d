"""What an SFTP session can do with files, and what is refused, in words."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from ingestd.errors import Rejected
from ingestd.model import Completeness
from ingestd.receive.landing import Landing
from ingestd.receive.sftp import SftpDoor
from ingestd.spool import Spool
from tests.receive.receiving import LIMIT, MemoryLedger, files_below, wait_for
from tests.receive.sftp_client import RawClient, SftpClient, text

ROWS = b"name,phone\nAda,+4533330000\r\nBo,\r" * 500


def refused(client: SftpClient, operation: str, *arguments: Any) -> str:
    with pytest.raises(asyncssh.SFTPError) as caught:
        client.do(operation, *arguments)
    return caught.value.reason


@pytest.fixture
def results(tmp_path: Path, sftp: SftpClient) -> Path:
    return tmp_path / "homes" / "acme" / "results"


# --- places


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("x.csv", ""),
        ("/x.csv", ""),
        ("upload/x.csv", ""),
        ("/upload/C-1/x.csv", "C-1"),
        ("../../x.csv", ""),
        ("//x.csv", ""),
    ],
)
def test_places_a_file_can_be_sent_to(sftp: SftpClient, ledger: MemoryLedger, path: str, folder: str) -> None:
    """The root, the upload folder, and a campaign's folder, which need not be there."""
    sftp.send(path, ROWS)
    assert [(arrival.folder, arrival.name) for arrival in ledger.arrivals] == [(folder, "x.csv")]
    assert sftp.do("listdir", "/upload") == [b".", b".."]  # it was taken


@pytest.mark.parametrize(
    "path",
    [
        "results/x.csv", "/upload/C/D/x.csv", "/../../etc/passwd", "/upload/-C/x.csv", "a\tb.csv", "a\nb", "upload",
        "/", "", "a\0b", "x" * 181, "\u2028.csv",
    ],
)  # fmt: skip
def test_places_that_are_refused(
    sftp: SftpClient, tmp_path: Path, ledger: MemoryLedger, audited: list[Any], path: str
) -> None:
    """Read-only, too deep, outside, no campaign's name, control characters, too long; the session goes on."""
    with pytest.raises(asyncssh.SFTPError):
        sftp.open(path.encode())
    assert audited[-1]["event"] == "sftp_command_refused"
    assert sftp.do("realpath", ".") == b"/"
    assert ledger.rows == []
    assert files_below(tmp_path) == []


def test_names_in_latin_1_and_utf_8(sftp: SftpClient, ledger: MemoryLedger) -> None:
    """Both are kept, as text that a store can keep."""
    for name in (b"\xe9.csv", b"\xe8.csv", "ü.csv".encode()):
        sftp.send(name, ROWS)
        assert sftp.do("stat", name).size == len(ROWS)
    assert [arrival.name for arrival in ledger.arrivals] == ["é.csv", "è.csv", "ü.csv"]


# --- after an upload, clients look at what they have sent


def test_a_landed_file_can_be_asked_for(sftp: SftpClient, ledger: MemoryLedger) -> None:
    """As paramiko and WinSCP do: size after the close, under each name of the place; then time and mode are set."""
    sftp.send("upload/x.csv", ROWS)
    for path in ("upload/x.csv", "/x.csv"):
        assert sftp.do("stat", path).size == len(ROWS)
        assert sftp.do("lstat", path).size == len(ROWS)
    sftp.do("utime", "upload/x.csv", (1, 1))
    sftp.do("chmod", "upload/x.csv", 0o600)
    assert refused(sftp, "stat", "upload/y.csv") == "No such file"
    assert len(ledger.rows) == 1


def test_times_and_modes_of_open_files_are_agreed_to(sftp: SftpClient, ledger: MemoryLedger) -> None:
    """`put -p`; but a size that was not sent is refused."""
    file = sftp.open("x.csv")
    sftp.run(file.write(ROWS))
    sftp.run(file.utime((1, 1)))
    sftp.run(file.truncate(len(ROWS)))
    with pytest.raises(asyncssh.SFTPFailure, match="cannot be cut or stretched"):
        sftp.run(file.truncate(1))
    assert sftp.run(file.stat()).size == len(ROWS)
    sftp.run(file.close())
    assert ledger.rows[0][1].size == len(ROWS)


# --- parked files


@pytest.mark.parametrize("rename", ["rename", "posix_rename"])
def test_a_rename_hands_in(sftp: SftpClient, ledger: MemoryLedger, tmp_path: Path, rename: str) -> None:
    """The file waits under its working name, in sight of its sender."""
    sftp.send("upload/x.csv.part", ROWS)
    assert ledger.rows == []
    assert b"x.csv.part" in sftp.do("listdir", "upload")
    assert sftp.fetch("upload/x.csv.part") == ROWS
    sftp.do(rename, "upload/x.csv.part", "upload/C-1/x.csv")
    ((arrival, landed),) = ledger.rows
    assert (arrival.name, arrival.folder, landed.size) == ("x.csv", "C-1", len(ROWS))
    assert (arrival.completeness, arrival.evidence) == (
        Completeness.PROVEN, "sftp close, renamed to its final name",
    )  # fmt: skip
    assert sftp.do("stat", "upload/C-1/x.csv").size == len(ROWS)
    assert files_below(tmp_path / "homes") == []


def test_what_another_session_parked_is_not_proven(sftp: SftpClient, sftp_door: SftpDoor, ledger: MemoryLedger) -> None:
    """It may have come by plain FTP."""
    with SftpClient(sftp_door) as other:
        other.send("x.csv.part", ROWS)
    sftp.do("rename", "x.csv.part", "x.csv")
    assert ledger.arrivals[0].completeness == Completeness.ASSUMED


def test_a_parked_file_can_be_parked_again(sftp: SftpClient, ledger: MemoryLedger) -> None:
    """Renamed, replaced, removed."""
    for name in ("a.part", "b.part"):
        sftp.send(name, name.encode())
    assert refused(sftp, "rename", "a.part", "b.part") == "there is a file of that name"
    sftp.do("posix_rename", "a.part", "b.part")
    assert sftp.fetch("b.part") == b"a.part"
    sftp.do("rename", "b.part", "b.csv")
    assert ledger.arrivals[0].completeness == Completeness.PROVEN
    sftp.send("c.part", ROWS)
    sftp.do("remove", "c.part")
    assert refused(sftp, "rename", "c.part", "c.csv") == "No such file"


def test_a_rename_that_cannot_be_recorded(sftp: SftpClient, ledger: MemoryLedger) -> None:
    """The file stays under its working name, and the rename can be tried again."""
    sftp.send("x.part", ROWS)
    ledger.away = True
    assert "cannot be recorded now" in refused(sftp, "rename", "x.part", "x.csv")
    ledger.away = False
    sftp.do("rename", "x.part", "x.csv")
    assert len(ledger.rows) == 1


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("rename", ("upload", "x.csv")),
        ("rename", ("results/r.csv", "x.csv")),
        ("rename", ("x.part", "results/x.csv")),
        ("rename", ("x.part", "/upload/C/D/x.csv")),
        ("remove", ("results/r.csv",)),
        ("remove", ("upload",)),
        ("rmdir", ("upload",)),
        ("rmdir", ("results",)),
        ("mkdir", ("results/x",)),
        ("mkdir", ("/x",)),
        ("mkdir", ("/upload/-x",)),
        ("mkdir", ("/upload",)),
        ("symlink", ("/etc/passwd", "upload/x.part")),
        ("link", ("results/r.csv", "upload/x.part")),
        ("readlink", ("results/r.csv",)),
        ("truncate", ("x.part", 1)),
        ("listdir", ("nowhere",)),
        ("listdir", ("results/r.csv",)),
        ("remote_copy", ("results/r.csv", "upload/c.csv")),
    ],
)
def test_what_is_refused(
    sftp: SftpClient, results: Path, ledger: MemoryLedger, operation: str, arguments: tuple[Any, ...]
) -> None:
    """Nothing changes, and the session goes on."""
    (results / "r.csv").write_bytes(b"r")
    sftp.send("x.part", ROWS)
    before = sorted(results.parents[1].rglob("*"))
    with pytest.raises(asyncssh.SFTPError):
        sftp.do(operation, *arguments)
    assert sorted(results.parents[1].rglob("*")) == before
    assert (results / "r.csv").read_bytes() == b"r"
    assert sftp.fetch("x.part") == ROWS
    assert ledger.rows == []


def test_campaign_folders(sftp: SftpClient) -> None:
    sftp.do("mkdir", "upload/C-1")
    assert refused(sftp, "mkdir", "upload/C-1") == "it is there already"
    sftp.send("upload/C-1/x.part", ROWS)
    assert refused(sftp, "rmdir", "upload/C-1") == "Directory not empty"
    sftp.do("remove", "upload/C-1/x.part")
    sftp.do("rmdir", "upload/C-1")
    assert sftp.do("listdir", "upload") == [b".", b".."]


# --- results


def test_results_are_fetched(sftp: SftpClient, results: Path, audited: list[Any]) -> None:
    """Read-only, without what is being written, in attributes that tell nothing of this machine."""
    (results / "x.csv.receipt.json").write_bytes(ROWS)
    (results / ".half").touch()
    assert sftp.do("listdir", "results") == [b".", b"..", b"x.csv.receipt.json"]
    assert sftp.fetch("results/x.csv.receipt.json") == ROWS
    assert audited[-1]["event"] == "sftp_download"
    assert audited[-1]["path"] == "/results/x.csv.receipt.json"
    file = sftp.open("results/x.csv.receipt.json", "rb")
    with pytest.raises(asyncssh.SFTPPermissionDenied):
        sftp.run(file.write(b"x"))
    sftp.run(file.close())
    (entry,) = [each for each in sftp.do("readdir", "results") if each.filename.startswith(b"x")]
    assert entry.longname.split()[2:4] == [b"partner", b"partner"]
    assert entry.attrs.uid is None
    assert sftp.do("statvfs", "results").bsize > 0


def test_a_large_result_is_fetched_whole(sftp: SftpClient, results: Path) -> None:
    content = os.urandom(3_000_000)
    (results / "large.csv").write_bytes(content)
    assert sftp.fetch("results/large.csv") == content


def test_no_symbolic_link_is_followed(sftp: SftpClient, results: Path, tmp_path: Path) -> None:
    """Not to a file, not through a folder; not even seen."""
    (tmp_path / "secret").write_bytes(b"secret")
    (results / "link").symlink_to(tmp_path / "secret")
    (results.parent / "upload" / "C-1").symlink_to(tmp_path)
    assert sftp.do("listdir", "results") == [b".", b".."]
    for path in ("results/link", "upload/C-1/secret", "upload/C-1"):
        for operation in ("stat", "lstat", "listdir", "remove", "readlink"):
            refused(sftp, operation, path)
        with pytest.raises(asyncssh.SFTPError):
            sftp.open(path, "rb")
    with pytest.raises(asyncssh.SFTPError):
        sftp.send("upload/C-1/x.part", ROWS)
    assert files_below(tmp_path / "spool") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["homes", "secret", "spool"]


def test_a_pipe_is_no_file(sftp: SftpClient, results: Path) -> None:
    """Opening one would hold up everybody."""
    os.mkfifo(results / "pipe")
    with pytest.raises(asyncssh.SFTPPermissionDenied, match="Not a regular file"):
        sftp.open("results/pipe", "rb")


# --- refusals of files


def test_a_file_over_the_limit(sftp: SftpClient, ledger: MemoryLedger, tmp_path: Path, audited: list[Any]) -> None:
    """Refused while it arrives, also at its close; told once in the audit; the session can send a smaller one."""
    file = sftp.open("big.csv")
    for _ in range(LIMIT // 250_000):
        sftp.run(file.write(b"x" * 250_000))
    with pytest.raises(asyncssh.SFTPFailure, match="larger than 1000000 bytes; nothing was kept"):
        sftp.run(file.write(b"x"))
    assert files_below(tmp_path / "spool") == []
    for _ in range(2):
        with pytest.raises(asyncssh.SFTPFailure, match="larger than"):
            sftp.run(file.write(b"x"))
    with pytest.raises(asyncssh.SFTPFailure, match="larger than"):
        sftp.run(file.close())
    assert [line["event"] for line in audited].count("sftp_upload_refused") == 1
    sftp.send("small.csv", b"x" * LIMIT)
    assert [landed.size for _, landed in ledger.rows] == [LIMIT]


def test_a_full_disk(
    sftp: SftpClient, spool: Spool, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before a file, in its middle, and at its end."""
    monkeypatch.setattr(spool, "_reserve", 2**62)
    with pytest.raises(asyncssh.SFTPFailure, match="stay free"):
        sftp.open("x.csv")
    monkeypatch.setattr(spool, "_reserve", 0)
    file = sftp.open("x.csv")
    with monkeypatch.context() as full:
        full.setattr(os, "write", _no_space)
        with pytest.raises(asyncssh.SFTPFailure, match="no room"):
            sftp.run(file.write(b"x"))
    with pytest.raises(asyncssh.SFTPFailure, match="no room"):
        sftp.run(file.close())
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _no_space)
        with pytest.raises(asyncssh.SFTPFailure, match="no room"):
            sftp.send("x.csv", ROWS)
    assert (ledger.rows, files_below(tmp_path / "spool")) == ([], [])
    sftp.send("x.csv", ROWS)
    assert len(ledger.rows) == 1


def _no_space(descriptor: int, chunk: bytes = b"") -> int:
    if threading.current_thread().name.startswith("sftp"):
        raise OSError(errno.ENOSPC, "No space left on device")
    return len(chunk)


def test_a_bug_in_a_write_costs_the_file(
    sftp: SftpClient, audited: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("ingestd.spool.Incoming.write_at", fail)
    file = sftp.open("x.csv")
    for call in (file.write(b"x"), file.close()):
        with pytest.raises(asyncssh.SFTPFailure, match="the file could not be kept; send it again later"):
            sftp.run(call)
    assert [line["event"] for line in audited].count("sftp_upload_fault") == 1
    assert files_below(tmp_path / "spool") == []


def test_a_store_that_is_away(sftp: SftpClient, ledger: MemoryLedger, tmp_path: Path) -> None:
    """Nothing is kept, and when it is back the same session can send again."""
    ledger.away = True
    with pytest.raises(asyncssh.SFTPFailure, match="cannot be recorded now"):
        sftp.send("x.csv", ROWS)
    assert files_below(tmp_path / "spool") == []
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        sftp.do("stat", "x.csv")
    ledger.away = False
    sftp.send("x.csv", ROWS)
    assert len(ledger.rows) == 1


@pytest.mark.parametrize(
    ("problem", "told", "faults"),
    [
        (Rejected("x", "the digest does not match"), "the digest does not match", 0),
        (RuntimeError("a bug"), "the file could not be kept; send it again later", 2),
    ],
)
def test_a_landing_that_refuses(
    sftp: SftpClient,
    landing: Landing,
    audited: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    problem: Exception,
    told: str,
    faults: int,
) -> None:
    """Theirs in its own words; ours without any. By close and by rename."""

    def fail(*_: object) -> None:
        raise problem

    sftp.send("x.part", ROWS)
    monkeypatch.setattr(landing, "accept", fail)
    with pytest.raises(asyncssh.SFTPFailure, match=told):
        sftp.send("y.csv", ROWS)
    assert refused(sftp, "rename", "x.part", "x.csv") == told
    events = [line["event"] for line in audited]
    assert events.count("sftp_upload_refused") == 2
    assert events.count("sftp_upload_fault") == faults
    assert sftp.do("realpath", ".") == b"/"


def test_a_bug_in_an_operation_costs_one_answer(
    sftp: SftpClient, audited: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("ingestd.receive.home.PartnerHome.names", fail)
    assert refused(sftp, "listdir", "/") == "something broke on our side; try again later"
    assert "sftp_fault" in [line["event"] for line in audited]
    assert sftp.do("realpath", ".") == b"/"


@pytest.mark.parametrize(
    "flags",
    [
        asyncssh.FXF_WRITE | asyncssh.FXF_CREAT,
        asyncssh.FXF_WRITE,
        asyncssh.FXF_READ | asyncssh.FXF_WRITE,
        asyncssh.FXF_WRITE | asyncssh.FXF_APPEND,
        asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_APPEND,
    ],
)
@pytest.mark.parametrize("name", ["x.part", "x.csv"])
def test_an_upload_cannot_be_continued(sftp: SftpClient, name: str, flags: int) -> None:
    """Neither one that waits for its rename nor one that has landed."""
    sftp.send(name, ROWS)
    with pytest.raises(asyncssh.SFTPFailure, match="send the whole file again"):
        sftp.open(name, flags)
    sftp.send(name, ROWS)


def test_other_ways_to_open(sftp: SftpClient, ledger: MemoryLedger) -> None:
    """New without `truncate` is new; `exclusive` keeps what is there; without `create` nothing is made."""
    sftp.run(sftp.open("x.csv", asyncssh.FXF_WRITE | asyncssh.FXF_CREAT).close())
    assert len(ledger.rows) == 1
    sftp.send("x.part", ROWS)
    with pytest.raises(asyncssh.SFTPFailure, match="there is a file of that name"):
        sftp.open("x.part", "xb")
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        sftp.open("new.csv", asyncssh.FXF_WRITE)
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        sftp.open("new.csv", "rb")
    sftp.do("mkdir", "upload/x.csv")
    with pytest.raises(asyncssh.SFTPPermissionDenied, match="That is a folder"):
        sftp.open("upload/x.csv", "wb")


def test_open_files_are_limited(sftp_door: SftpDoor, tmp_path: Path) -> None:
    """Each holds a descriptor and a file in the spool."""
    with RawClient(sftp_door) as client:
        handles = [client.open(b"%d.csv" % number) for number in range(32)]
        handles += [client.ask(client.OPENDIR, text(b"/"))[1:] for _ in range(32)]
        code, told = client.status(client.OPENDIR, text(b"/"))
        assert (code, told) == (asyncssh.FX_FAILURE, "at most 64 files may be open at once")
        client.status(client.CLOSE, handles[-1])
        client.open(b"more.csv")


def test_reads_without_end_are_not_piled_up(
    sftp_door: SftpDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks and never reads is not answered any further, or its answers would fill the memory."""
    asked: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *given: (asked.append(1), pread(*given))[1])
    with RawClient(sftp_door) as client:
        (tmp_path / "homes" / "acme" / "results" / "x").write_bytes(b"x" * 262_144)
        handle = client.open(b"results/x", 1)
        request = client.READ.to_bytes(1, "big") + b"\0\0\0\1" + handle + b"\0" * 8 + b"\0\4\0\0"
        client.reader.channel.pause_reading()
        client.writer.write(text(request) * 2000)
        client.run(asyncio.sleep(0))
        with SftpClient(sftp_door) as other:
            wait_for(lambda: asked)
            other.fetch("results/x")
        assert len(asked) < 100
        client.connection.abort()


def test_modes_are_those_of_a_partner(sftp: SftpClient) -> None:
    sftp.send("x.part", ROWS)
    assert sftp.do("stat", "x.part").permissions == stat.S_IFREG | 0o644
    assert sftp.do("stat", "/").permissions == stat.S_IFDIR | 0o755


def test_nothing_in_the_audit_moves_a_terminal(sftp: SftpClient, audited: list[Any]) -> None:
    refused(sftp, "remove", b"a\x1b[2J\n.part")
    assert audited[-1]["argument"] == "a\\x1b[2J\\n.part"


def test_commands_are_audited(sftp: SftpClient, audited: list[Any]) -> None:
    """With who, what and where; reads, writes and looks are not."""
    del audited[:]
    sftp.do("stat", "/")
    sftp.send("x.part", ROWS)
    sftp.fetch("x.part")
    sftp.do("rename", "x.part", "y.part")
    sftp.do("remove", "y.part")
    refused(sftp, "rmdir", "results")
    assert [line["event"] for line in audited] == [
        "sftp_upload_parked", "sftp_download", "sftp_command", "sftp_command", "sftp_command_refused",
    ]  # fmt: skip
    assert all((line["source"], line["login"], line["peer"]) == ("acme", "acme", "127.0.0.1") for line in audited)
    assert (audited[2]["operation"], audited[2]["argument"]) == ("rename", "x.part y.part")
    assert audited[4]["reply"] == "Folders can be made and removed only as /upload/<campaign code>"
