"""`ingestd dnc …` as a shell sees it."""

from __future__ import annotations

from pathlib import Path

from tests.test_cli import Shell


def test_numbers_are_listed_checked_and_taken_off(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("lead", "create", "phone=26141516", "--campaign", "DK-ENERGY", "--as", "admin")
    words = ("dnc", "add", "26141516", "+4526141517", "--region", "DK", "--as", "admin", "--reason", "asked")
    assert shell.run(*words).stdout == "2 added, 0 known already, 1 open leads closed\n"
    assert [each["phone"] for each in shell.json("dnc", "list")] == ["+4526141516", "+4526141517"]
    assert [each["phone"] for each in shell.json("dnc", "list", "--after", "+4526141516")] == ["+4526141517"]
    told = shell.run("dnc", "check", "+4526141516").stdout
    assert "global list since" in told
    assert "in_global_do_not_call_list" in told
    shell.run("dnc", "remove", "+4526141517", "--as", "admin", "--why", "a mistake")
    assert shell.json("dnc", "check", "+4526141517") == {"phone": "+4526141517", "lists": [], "leads": []}
    assert "not on the list" in shell.run("dnc", "remove", "+4526141517", "--as", "admin", "--why", "x", code=4).stderr


def test_whoever_may_not_is_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    words = ("dnc", "add", "+4526141516", "--as", "berlin-1", "--reason", "asked")
    assert "this needs the permission lead_admin" in shell.run(*words, code=4).stderr
    assert shell.json("dnc", "list") == []
