"""An object store as a storage, on a real S3 server: complete or absent, never overwritten, in bounded time."""

from __future__ import annotations

import errno
import hashlib
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from structlog.testing import capture_logs

from ingestd.errors import Misconfigured, Unavailable
from ingestd.spool import Spool
from ingestd.storage import Storage, objects
from tests.s3 import KEY, S3, SECRET

HASH = "0" * 64


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.new_bucket()


@pytest.fixture
def storage(s3: S3, bucket: str) -> Storage:
    opened = s3.storage(bucket)
    opened.claim("a-store")
    return opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"rows")
    return path


def secrets_in(text: str) -> list[str]:
    return [word for word in (KEY, SECRET, "AWS4", "Signature:", "StringToSign") if word in text]


def test_what_is_kept_is_found_below_the_prefix(storage: Storage, s3: S3, bucket: str, file: Path) -> None:
    storage.below("spool").keep(file, "deliveries/x", sha256=HASH)
    assert s3.objects(bucket) == ["ingestd/spool/deliveries/x", "ingestd/store-id"]
    assert storage.read("spool/deliveries/x") == b"rows"
    assert b"".join(storage.pieces("spool/deliveries/x")) == b"rows"
    assert file.exists(), "the caller's to remove"
    told = obstore.get(s3.client(bucket), "ingestd/spool/deliveries/x").attributes
    assert told["sha256"] == HASH
    (found,) = storage.found("spool")
    assert (found.key, found.size) == ("spool/deliveries/x", 4)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_files_of_any_size_come_back(storage: Storage, file: Path, size: int) -> None:
    file.write_bytes(b"x" * size)
    storage.keep(file, "x", sha256=HASH)
    assert storage.read("x") == b"x" * size


def test_a_file_is_read_piece_by_piece(storage: Storage, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "RANGE", 3)
    for content in (b"0123456789", b"012", b""):
        file.write_bytes(content)
        storage.keep(file, f"x{len(content)}", sha256=HASH)
        pieces = list(storage.pieces(f"x{len(content)}"))
        assert b"".join(pieces) == content
        assert all(0 < len(piece) <= 3 for piece in pieces)


def test_large_files_are_put_in_parts(
    storage: Storage, s3: S3, bucket: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "LARGE", 10)
    monkeypatch.setattr(objects, "PART", 5 * 2**20)
    content = b"0123456789abcdef" * 700_000
    file.write_bytes(content)
    storage.keep(file, "x", sha256=HASH)
    assert storage.read("x") == content
    assert "-" in str(obstore.head(s3.client(bucket), "ingestd/x")["e_tag"]), "of one in parts"
    with pytest.raises(Unavailable, match="nothing is overwritten"):
        storage.keep(file, "x", sha256=HASH)


def test_nothing_is_overwritten(storage: Storage, file: Path) -> None:
    """Nor taken away by the one who came second."""
    storage.keep(file, "x", sha256=HASH)
    file.write_bytes(b"others")
    with pytest.raises(Unavailable, match="nothing is overwritten"):
        storage.keep(file, "x", sha256=HASH)
    storage.keep(file, "7/1/log", sha256=HASH)
    with pytest.raises(Unavailable, match="nothing is overwritten"), storage.new("7/1") as folder:
        folder.write("log", b"1")
    assert storage.read("x") == b"rows"


def test_what_is_missing_is_missing(storage: Storage) -> None:
    assert not storage.has("x")
    with pytest.raises(FileNotFoundError):
        storage.read("x")
    with pytest.raises(FileNotFoundError):
        next(storage.pieces("x"))
    storage.discard("x")


def test_nothing_is_missing_in_another_place(s3: S3) -> None:
    """A bucket that was emptied, a wrong prefix, and no bucket at all: our fault, so no file is given up."""
    for bucket in (s3.new_bucket(), "no-such-bucket"):
        storage = s3.storage(bucket)
        for look in (storage.has, storage.read, lambda key, there=storage: list(there.pieces(key))):
            with pytest.raises(Unavailable):
                look("x")


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//b", "", ".", "a/.hidden", "a\nb", "a/b/"])
def test_no_key_leads_out_of_the_prefix(storage: Storage, file: Path, key: str) -> None:
    spool = storage.below("spool")
    for use in (spool.has, spool.read, spool.discard, spool.below, lambda key: list(spool.pieces(key)),
                lambda key: spool.keep(file, key, sha256=HASH), lambda key: list(spool.found(key))):  # fmt: skip
        with pytest.raises(ValueError, match="not a key"):
            use(key)


def test_a_file_is_put_aside_and_never_lost(storage: Storage, file: Path) -> None:
    storage.keep(file, "x", sha256=HASH)
    assert storage.put_aside("x", "orphans/x", lambda: False) == ""
    answers = iter([True, False])  # a row that was written while it was copied
    assert storage.put_aside("x", "orphans/x", lambda: next(answers)) == ""
    assert storage.read("x") == b"rows"
    assert storage.put_aside("x", "orphans/x", lambda: True) == f"{storage}/orphans/x"
    assert not storage.has("x")
    assert storage.read("orphans/x") == b"rows"


def test_the_first_name_is_the_one(storage: Storage) -> None:
    assert storage.claim("another-store") == "a-store"
    assert storage.name() == "a-store"


def test_a_folder_is_there_with_all_its_files_or_raises(storage: Storage) -> None:
    with storage.new("logs/7/1") as folder:
        folder.write("header.json", b"{}")
        folder.target("rows").write(b"1")
    assert sorted(each.key for each in storage.found("logs")) == ["logs/7/1/header.json", "logs/7/1/rows"]


# --- away


@pytest.fixture
def hole() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


def uses(storage: Storage, file: Path) -> list[Any]:
    def write() -> None:
        with storage.new("7/1") as folder:
            folder.write("x", b"1")

    return [
        lambda: storage.keep(file, "x", sha256=HASH),
        lambda: storage.read("x"),
        lambda: storage.has("x"),
        lambda: list(storage.pieces("x")),
        lambda: list(storage.found("x")),
        lambda: storage.put_aside("x", "y", lambda: True),
        lambda: storage.claim("x"),
        storage.check,
        write,
    ]


def test_a_server_that_is_away_is_ours(s3: S3, file: Path) -> None:
    storage = s3.storage("any", endpoint="http://127.0.0.1:1", retries=0)
    for use in uses(storage, file):
        with pytest.raises(Unavailable, match="cannot be reached: ConnectionRefused"):
            use()


def test_a_server_that_is_silent_is_not_waited_for(s3: S3, file: Path, hole: int) -> None:
    """Within the time that is set, and whoever comes next does not wait at all."""
    storage = s3.storage("any", endpoint=f"http://127.0.0.1:{hole}", timeout_seconds=1)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="has not answered within 1 s"):
        storage.keep(file, "x", sha256=HASH)
    first, begun = time.monotonic() - begun, time.monotonic()
    for use in uses(storage, file):
        if use != storage.check:
            with pytest.raises(Unavailable, match="has not answered within 1 s"):
                use()
    assert 0.9 <= first < 3
    assert time.monotonic() - begun < 1


def test_a_server_that_came_back_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    patience = objects._Patience(clock=lambda: moment[0])
    patience.lost(objects.Unreachable("away"))
    with pytest.raises(Unavailable, match="away"):
        patience.check()
    moment[0] = objects.AWAY_SECONDS
    patience.check()


def test_a_full_bucket_is_no_room(s3: S3, file: Path) -> None:
    storage = s3.storage(s3.new_bucket(quota=1000))
    file.write_bytes(b"x" * 2000)
    with pytest.raises(OSError, match=r"takes no more: 4.. .*EntityTooLarge") as caught:
        storage.keep(file, "x", sha256=HASH)
    assert caught.value.errno == errno.EDQUOT
    with pytest.raises(Unavailable, match="takes no more"), storage.new("7/1") as folder:
        folder.write("x", b"x" * 2000)


def test_secrets_are_in_no_message(s3: S3, bucket: str, file: Path) -> None:
    """The server's answer has the key and what was signed; neither is passed on, also not as a cause."""
    storage = s3.storage(bucket, secret="a-wrong-secret")
    with capture_logs() as told:
        for use in uses(storage, file):
            with pytest.raises(Unavailable, match="does not let us: 403 Forbidden") as caught:
                use()
            problem: BaseException | None = caught.value
            while problem is not None:
                assert not secrets_in(f"{problem!r}")
                problem = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    assert not secrets_in(str(told))
    assert {each["event"] for each in told} == {"file_not_removed"}


# --- check


def test_a_check_leaves_nothing(storage: Storage, s3: S3, bucket: str) -> None:
    storage.check()
    assert s3.objects(bucket) == ["ingestd/store-id"]


def test_a_check_says_what_to_do(s3: S3) -> None:
    with pytest.raises(Unavailable, match=r"\(NoSuchBucket\); make the bucket first"):
        s3.storage("no-such-bucket").check()
    with pytest.raises(Unavailable, match=r"cannot be reached.*look at storage\.endpoint"):
        s3.storage("any", endpoint="http://127.0.0.1:1", retries=0).check()
    with pytest.raises(Unavailable, match="make room"):
        s3.storage(s3.new_bucket(quota=1)).check()


def test_a_store_that_overwrites_is_refused(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server that does not know If-None-Match."""
    put = obstore.put_async
    monkeypatch.setattr(obstore, "put_async", lambda *given, **_: put(*given))
    with pytest.raises(Misconfigured, match="overwrites files"):
        storage.check()


# --- as a spool


def test_other_bytes_than_were_received_are_not_read(storage: Storage, s3: S3, bucket: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path, storage=storage.below("spool"), reserve_bytes=0)
    incoming = spool.open(limit=100)
    incoming.write(b"rows")
    landed = incoming.commit()
    incoming.close()
    assert spool.read(landed.key, landed.sha256) == b"rows"
    obstore.put(s3.client(bucket), f"ingestd/spool/deliveries/{landed.key}", b"none")
    with pytest.raises(Unavailable, match="has other bytes"):
        spool.read(landed.key, landed.sha256)
    assert not any((tmp_path / "tmp").iterdir())


def test_only_old_files_can_be_orphans(storage: Storage, tmp_path: Path) -> None:
    """A sweep leaves them alone: another home may be landing them."""
    moment = [datetime.now(UTC)]
    spool = Spool(tmp_path, storage=storage.below("spool"), reserve_bytes=0, clock=lambda: moment[0])
    keys = []
    for content in (b"known", b"unknown"):
        incoming = spool.open(limit=100)
        incoming.write(content)
        keys.append(incoming.commit().key)
        incoming.close()
    assert spool.sweep(lambda _: False).orphans == 0
    known = {keys[0]}.__contains__
    assert list(spool.orphans(known)) == []
    moment[0] += timedelta(days=1, minutes=1)
    (found,) = spool.orphans(known)
    assert (found.key, found.size) == (keys[1], 7)
    assert spool.put_aside(keys[0], known) == ""
    assert spool.put_aside(keys[1], known) == f"{storage}/spool/orphans/{keys[1].replace('/', '-')}"
    assert (spool.has(keys[0]), spool.has(keys[1])) == (True, False)


def test_a_file_gets_other_bytes_and_nothing_new_is_made(storage: Storage, s3: S3, bucket: str, file: Path) -> None:
    storage.keep(file, "x", sha256=HASH)
    storage.rewrite("x", b"blanked")
    assert storage.read("x") == b"blanked"
    told = obstore.get(s3.client(bucket), "ingestd/x").attributes
    assert told["sha256"] == hashlib.sha256(b"blanked").hexdigest()
    with pytest.raises(FileNotFoundError):
        storage.rewrite("y", b"blanked")
    assert s3.objects(bucket) == ["ingestd/store-id", "ingestd/x"]
