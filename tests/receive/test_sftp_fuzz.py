"""Any names, any order of requests, any bytes: no crash, no leak, nothing touched outside of the home."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestd.receive import names
from ingestd.receive.gate import Gate
from ingestd.receive.landing import Landing
from ingestd.receive.sftp import SftpDoor, SftpOptions
from ingestd.spool import Spool
from tests.receive.receiving import MemoryLedger, files_below, wait_for
from tests.receive.sftp_client import RawClient, SftpClient, text

PARTS = st.one_of(
    st.sampled_from(
        [b"upload", b"results", b"C-1", b"..", b".", b"", b"x.csv", b"x.part", b"r.json", b"link", b"secret"]
    ),
    st.binary(max_size=12),
)
PATHS = st.one_of(st.lists(PARTS, max_size=5).map(b"/".join), st.binary(max_size=300))
WITH_ONE_PATH = ["stat", "lstat", "mkdir", "rmdir", "remove", "listdir", "realpath", "readlink", "statvfs"]
WITH_TWO_PATHS = ["rename", "posix_rename", "symlink", "link"]
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(WITH_ONE_PATH), PATHS),
    st.tuples(st.sampled_from(WITH_TWO_PATHS), PATHS, PATHS),
    st.tuples(
        st.just("setstat"), PATHS, st.builds(asyncssh.SFTPAttrs, size=st.integers(0, 9), permissions=st.just(0o777))
    ),
    st.tuples(st.just("send"), PATHS, st.binary(max_size=20)),
    st.tuples(st.just("fetch"), PATHS),
    st.tuples(st.just("open"), PATHS, st.integers(0, 63)),
)


class Fuzzed:
    """One door for all examples, with its ledger and what lies around it."""

    def __init__(self, folder: Path, gate: Gate, audited: list[Any], audit: Any, host_key: asyncssh.SSHKey) -> None:
        self.folder, self.ledger, self._audited = folder, MemoryLedger(), audited
        landing = Landing(Spool(folder / "spool", reserve_bytes=0), self.ledger, lambda: None)
        options = SftpOptions(port=0, host_key=host_key)
        self.door = SftpDoor(options, landing, gate, folder / "homes", audit=audit)
        self.door.start()
        SftpClient(self.door).close()
        results = folder / "homes" / "acme" / "results"
        (results / "r.json").write_bytes(b"{}")
        (folder / "secret").write_bytes(b"secret")
        (folder / "outside").mkdir()
        (results / "link").symlink_to(folder / "secret")
        (results / "out").symlink_to(folder / "outside")

    def not_theirs(self) -> dict[str, str]:
        """Everything but the upload area, parked files, and what was delivered; by its content."""
        home = self.folder / "homes" / "acme"
        found = (
            path
            for path in self.folder.rglob("*")
            if not path.is_relative_to(home / "upload")
            and not path.is_relative_to(self.folder / "spool")
            and not (path.parent == home and path.is_file() and names.is_partial(names.label(path.name)))
        )
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in found}

    def faults(self) -> list[Any]:
        return [line for line in self._audited if line["event"].endswith("fault")]

    def in_the_spool(self) -> int:
        return len(files_below(self.folder / "spool"))


@pytest.fixture
def fuzzed(tmp_path: Path, gate: Gate, audited: list[Any], audit: Any, host_key: asyncssh.SSHKey) -> Iterator[Fuzzed]:
    opened = Fuzzed(tmp_path, gate, audited, audit, host_key)
    yield opened
    opened.door.stop(within=1.0)


def perform(client: SftpClient, operation: str, *arguments: Any) -> None:
    """One operation; only answers of the protocol may come of it."""
    call: Callable[..., Any] = getattr(client, operation, None) or (lambda *given: client.do(operation, *given))
    with contextlib.suppress(asyncssh.SFTPError):
        call(*arguments)


MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(operations=st.lists(OPERATIONS, max_size=25))
def test_any_operations_on_any_names(fuzzed: Fuzzed, operations: list[tuple[Any, ...]]) -> None:
    before = fuzzed.not_theirs()
    with SftpClient(fuzzed.door) as client:
        for each in operations:
            perform(client, *each)
        assert client.do("realpath", ".") == b"/"
    desk = fuzzed.door._desk
    wait_for(lambda: not desk.channels and not desk.sessions)
    assert fuzzed.not_theirs() == before
    assert fuzzed.in_the_spool() == len(fuzzed.ledger.loaded())
    assert fuzzed.faults() == []


HANDLES = st.sampled_from([b"\0\0\0\0", b"\0\0\0\1", b"", b"\xff" * 5]).map(text)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.tuples(HANDLES, st.binary(max_size=40)).map(b"".join),
    st.tuples(PATHS.map(text), st.binary(max_size=40)).map(b"".join),
    st.tuples(PATHS.map(text), st.integers(0, 63).map(lambda flags: struct.pack(">II", flags, 0))).map(b"".join),
)
REQUESTS = st.tuples(st.one_of(st.integers(3, 25), st.sampled_from([200, 201, 0, 255])), BODIES)


@MANY
@given(requests=st.lists(REQUESTS, max_size=20), end=st.binary(max_size=30))
def test_any_bytes(fuzzed: Fuzzed, requests: list[tuple[int, bytes]], end: bytes) -> None:
    """Every request is answered, whatever is in it; then come bytes that are no request at all."""
    before = fuzzed.not_theirs()
    with RawClient(fuzzed.door) as client:
        for kind, body in requests:
            assert client.ask(kind, body)[0] in (101, 102, 103, 104, 105, 201)
        client.writer.write(end)
        client.writer.close()
    desk = fuzzed.door._desk
    wait_for(lambda: not desk.channels and not desk.sessions)
    assert fuzzed.not_theirs() == before
    assert fuzzed.in_the_spool() == len(fuzzed.ledger.loaded())
    assert fuzzed.faults() == []
