"""`ingestd segments …` as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import Shell

LUND = json.dumps({"field": "city", "op": "is", "value": "Lund"})


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A home with two leads that were typed in, and a segment of one of them."""
    shell = Shell(tmp_path)
    for phone, city in (("26141516", "Lund"), ("26141517", "Kiel")):
        shell.run("lead", "create", f"phone={phone}", f"city={city}", "--campaign", "DK-ENERGY", "--as", "admin")
    told = shell.run("segments", "group", "add", "--project", "ENERGY", "--name", "By city", "--as", "admin")
    assert told.stdout == "segment group 1: By city\n"
    made = shell.run("segments", "add", "--group", "1", "--name", "Lund", "--filter", LUND, "--as", "admin")
    assert made.stdout == "segment 1: City is Lund\n"
    return shell


def test_segments_are_listed_shown_and_worked_out(shell: Shell) -> None:
    told = shell.run("segments", "recompute", "--project", "ENERGY", "--as", "admin").stdout
    assert "1 came into another segment" in told
    assert shell.json("segments", "show", "1")["leads"] == 1
    shown = shell.run("segments", "show", "1").stdout
    assert "Lund of By city, ENERGY: City is Lund" in shown
    assert "1 leads; of the project 2 are worked out, pending: 0" in shown
    (group,) = shell.json("segments", "list", "--project", "ENERGY")
    assert [each["name"] for each in group["segments"]] == ["Lund"]
    assert "City is Lund" in shell.run("segments", "list").stdout


def test_segments_are_previewed_edited_copied_ordered_and_removed(shell: Shell) -> None:
    words = ("segments", "preview", "--project", "ENERGY", "--filter", LUND, "--as", "admin")
    assert (found := shell.json(*words))["count"] == len(found["examples"]) == 1
    assert "1 leads" in shell.run(*words).stdout
    by = ("--as", "admin")
    assert shell.run("segments", "edit", "1", "--filter", "{}", *by).stdout == "segment 1: every lead\n"
    shell.run("segments", "copy", "1", "--name", "copy", *by)
    assert shell.run("segments", "order", "1", "2", "1", *by).stdout == "copy, Lund\n"
    (first, second) = shell.json("segments", "contested", "1")
    assert (first["left"], second["taken"]) == (2, {"2": 2})
    assert "2 by 2" in shell.run("segments", "contested", "1").stdout
    shell.run("segments", "remove", "2", *by)
    shell.run("segments", "group", "copy", "1", "--name", "twin", *by)
    assert shell.run("segments", "group", "order", "2", "1", "--project", "ENERGY", *by).stdout == "twin, By city\n"
    assert "inactive" in shell.run("segments", "group", "edit", "1", "--inactive", *by).stdout
    shell.run("segments", "group", "remove", "2", *by)
    assert len(shell.json("segments", "list")) == 1


def test_what_cannot_be_is_refused(shell: Shell) -> None:
    locked = json.dumps({"field": "locked", "op": "is", "value": True})
    refused = shell.run("segments", "edit", "1", "--filter", locked, "--as", "admin", code=4)
    assert "changes with time alone" in refused.stderr
    assert "no JSON" in shell.run("segments", "edit", "1", "--filter", "{", "--as", "admin", code=2).stderr
    denied = shell.run("segments", "remove", "1", "--as", "copenhagen-1", code=4)
    assert "lead_admin" in denied.stderr
