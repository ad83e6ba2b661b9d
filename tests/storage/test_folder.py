"""A folder as a storage: of a home, and on a share that may be away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestd.errors import Unavailable
from ingestd.storage import Folder

HASH = "0" * 64


@pytest.fixture
def share(tmp_path: Path) -> Folder:
    (tmp_path / "share").mkdir()
    mounted = Folder(tmp_path / "share", mount=tmp_path / "share")
    assert mounted.claim("a-store") == "a-store"
    return mounted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"rows")
    return path


def test_the_first_name_of_a_share_is_the_one(share: Folder) -> None:
    assert share.claim("another-store") == "a-store"
    assert share.below("spool").name() == "a-store"
    assert [path.name for path in share.root.iterdir()] == ["store-id"]


def test_a_file_is_moved_to_another_file_system_as_a_whole(share: Folder, file: Path, elsewhere: Path) -> None:
    """As to a share."""
    other = elsewhere / f"ingestd-{file.parent.name}"
    other.write_bytes(b"from elsewhere")
    share.keep(other, "deliveries/x", sha256=HASH)
    assert not other.exists()
    assert share.read("deliveries/x") == b"from elsewhere"
    assert [each.key for each in share.found("deliveries")] == ["deliveries/x"]


def test_nothing_is_kept_nor_missing_where_no_share_is_mounted(share: Folder, file: Path) -> None:
    share.keep(file, "x", sha256=HASH)
    with pytest.raises(FileNotFoundError):
        share.read("y")
    share.root.rename(share.root.with_name("away"))
    share.root.mkdir()
    file.write_bytes(b"more")
    for use in (lambda: share.keep(file, "y", sha256=HASH), lambda: share.read("x"), lambda: share.has("x"),
                lambda: list(share.pieces("x")), lambda: list(share.found("deliveries"))):  # fmt: skip
        with pytest.raises(Unavailable, match="the share is not mounted"):
            use()
    with pytest.raises(Unavailable, match="not mounted"), share.new("7/1") as folder:
        folder.write("x", b"")
    assert list(share.root.iterdir()) == []
    assert file.exists()


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//b", "", ".", "a/.hidden"])
def test_no_key_leads_out_of_the_folder(share: Folder, file: Path, key: str) -> None:
    for use in (share.has, share.read, share.discard, share.below, share.path,
                lambda key: list(share.pieces(key)), lambda key: share.keep(file, key, sha256=HASH)):  # fmt: skip
        with pytest.raises(ValueError, match="not a key"):
            use(key)


def test_a_check_leaves_nothing(share: Folder) -> None:
    share.check()
    assert [path.name for path in share.root.iterdir()] == ["store-id"]


def test_a_file_gets_other_bytes_as_a_whole(share: Folder, file: Path) -> None:
    file.chmod(0o600)
    share.keep(file, "deliveries/x", sha256=HASH)
    open_before = share.path("deliveries/x").open("rb")
    share.rewrite("deliveries/x", b"blank")
    with open_before:
        assert open_before.read() == b"rows", "whoever reads it keeps what it was"
    assert share.read("deliveries/x") == b"blank"
    assert [path.name for path in share.path("deliveries").iterdir()] == ["x"]
    assert share.path("deliveries/x").stat().st_mode & 0o777 == 0o600


def test_what_is_not_there_is_not_rewritten(share: Folder, file: Path) -> None:
    share.keep(file, "x", sha256=HASH)
    with pytest.raises(FileNotFoundError):
        share.rewrite("y", b"blank")
    assert sorted(path.name for path in share.root.iterdir()) == ["store-id", "x"]
    share.root.rename(share.root.with_name("away"))
    share.root.mkdir()
    with pytest.raises(Unavailable, match="the share is not mounted"):
        share.rewrite("x", b"blank")


def test_a_folder_goes_when_nothing_is_left_in_it(share: Folder) -> None:
    with share.new("logs/7/1") as folder:
        folder.write("x", b"")
    hidden = share.root / "logs/7/1/.y"
    hidden.write_bytes(b"")
    share.tidy("logs/7/1")
    assert [each.key for each in share.found("logs")] == ["logs/7/1/x"]
    hidden.unlink()
    share.discard("logs/7/1/x")
    for _ in range(2):
        share.tidy("logs/7/1")
    assert list((share.root / "logs/7").iterdir()) == []
    assert list(share.found("logs")) == []
