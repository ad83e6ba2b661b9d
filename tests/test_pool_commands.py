"""`ingestd pools …` as a shell sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cli import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A home with a pool of two leads that were typed in, one of them called."""
    shell = Shell(tmp_path)
    for phone in ("26141516", "26141517"):
        shell.run("lead", "create", f"phone={phone}", "--campaign", "DK-ENERGY", "--as", "admin")
    shell.run("lead", "status", "1", "success", "--as", "admin", "--call")
    return shell


def test_a_pool_is_switched_off_and_on(shell: Shell) -> None:
    off = shell.run("pools", "deactivate", "1", "--as", "admin", "--why", "prices")
    assert off.stdout == "pool 1 is inactive\n"
    assert [each["state"] for each in shell.json("pools")] == ["Inactive"]
    again = shell.run("pools", "deactivate", "1", "--as", "admin", code=4)
    assert "pool 1 is Inactive; only a pool that is Active becomes Inactive" in again.stderr
    assert shell.run("pools", "activate", "1", "--as", "admin").stdout == "pool 1 is active\n"
    assert "prices" in shell.run("org", "audit").stdout


def test_a_pool_is_shuffled_and_emptied(shell: Shell) -> None:
    told = shell.run("pools", "shuffle", "1", "--as", "admin").stdout
    assert told == "pool 1: 2 leads are in a random order\n"
    assert shell.run("pools", "delete", "1", "--as", "admin").stdout == "pool 1: 1 deleted\n1 stay: processed\n"
    assert shell.json("pools", "delete", "1", "--as", "admin") == {"deleted": 0, "kept": {"processed": 1}}
    assert [each["total"] for each in shell.json("pools", "-n", "5")] == [1]


def test_a_pool_is_undone_and_one_of_no_file_is_not(shell: Shell, tmp_path: Path) -> None:
    assert "became of no file" in shell.run("pools", "undo", "1", "--as", "admin", code=4).stderr
    (tmp_path / "two.csv").write_bytes(b"Phone\r\n26000001\r\n26000002\r\n")
    shell.run("import", str(tmp_path / "two.csv"), "--source", "nordlead")
    told = shell.run("pools", "undo", "2", "--as", "admin", "--why", "wrong list").stdout
    assert told == "pool 2 is undone; leads taken back: 2\ndelivery 1 counts as not loaded\n"
    assert [each["state"] for each in shell.json("pools")] == ["Undone", "Active"]
    assert "only a pool that is loaded can be undone" in shell.run("pools", "undo", "2", "--as", "admin", code=4).stderr


def test_whoever_may_not_is_refused(shell: Shell) -> None:
    told = shell.run("pools", "delete", "1", "--as", "berlin-1", code=4)
    assert "this needs the permission lead_pools" in told.stderr
    assert "there is no user 'nobody'" in shell.run("pools", "shuffle", "1", "--as", "nobody", code=4).stderr
    assert "there is no pool 9" in shell.run("pools", "activate", "9", "--as", "admin", code=4).stderr
