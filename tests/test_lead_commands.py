"""`ingestd lead …` as a shell sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cli import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A home with one lead that was typed in."""
    shell = Shell(tmp_path)
    told = shell.run("lead", "create", "phone=26141516", "first_name=Anna", "--campaign", "DK-ENERGY", "--as", "admin")
    assert told.stdout == "lead 1: inserted\n"
    return shell


def test_a_lead_is_explained_rule_by_rule(shell: Shell) -> None:
    shell.run("lead", "owner", "team:copenhagen", "1", "--as", "admin")
    told = shell.run("lead", "explain", "1", "--agent", "aarhus-1").stdout
    assert "aarhus-1 may not call lead 1\n" in told
    assert "NO   owner                team:copenhagen owns it, which is neither team:aarhus nor above it\n" in told
    found = shell.json("lead", "explain", "1", "--agent", "copenhagen-1")
    assert (found["may_call"], found["may_see"]) == (True, True)
    assert all(rule["holds"] and rule["fact"] for rule in found["calling"])


def test_what_happens_to_a_lead_is_in_its_history(shell: Shell) -> None:
    assert shell.json("lead", "edit", "1", "city=Lund", "--as", "admin", "--version", "1")["city"] == "Lund"
    wish = ("lead", "status", "1", "manual_redial_private", "--as", "aarhus-1", "--call", "--why", "asked")
    private = shell.json(*wish, "--at", "2099-01-01")
    assert (private["owner"], private["attempts"], private["processed_by"]) == ("user:aarhus-1", 1, "user:aarhus-1")
    events = shell.json("lead", "history", "1")
    assert [(each["by"], each["kind"], each["field"], each["after"]) for each in events] == [
        ("user:admin", "created", "owner", "team:company"),
        ("user:admin", "created", "status", "unprocessed"),
        ("user:admin", "edited", "city", "Lund"),
        ("user:aarhus-1", "call", "attempts", "1"),
        ("user:aarhus-1", "call", "owner", "user:aarhus-1"),
        ("user:aarhus-1", "call", "processed_by", "user:aarhus-1"),
        ("user:aarhus-1", "call", "scheduled_at", "2099-01-01T00:00:00+00:00"),
        ("user:aarhus-1", "call", "status", "manual_redial_private"),
    ]
    assert "asked" in shell.run("lead", "history", "1").stdout
    refused = shell.run("lead", "status", "1", "success", "--as", "lead-denmark", "--call", code=4)
    assert "you may not call lead 1" in refused.stderr


def test_a_user_is_given_a_lead_and_says_how_the_call_ended(shell: Shell) -> None:
    given = shell.json("lead", "next", "--campaign", "DK-ENERGY", "--as", "aarhus-1")
    assert (given["lead"]["id"], given["lead"]["locked_by"]) == (1, "user:aarhus-1")
    told = shell.run("lead", "next", "--campaign", "DK-ENERGY", "--as", "copenhagen-1").stdout
    assert told.startswith("there is no lead to call now\n  1 not_locked, the first at 20")
    assert "do not hold lead 1" in shell.run("lead", "result", "1", "success", "--as", "copenhagen-1", code=4).stderr
    ended = ("lead", "result", "1", "automatic_redial", "city=Lund", "--as", "aarhus-1", "--at", "2030-01-01")
    done = shell.json(*ended)
    assert (done["city"], done["attempts"], done["locked_by"], done["scheduled_at"][:10]) == (
        "Lund", 1, None, "2030-01-01",
    )  # fmt: skip
    assert shell.json("lead", "list", "--deactivated") == []
    shell.run("lead", "owner", "code:dk-aar", "1", "--as", "admin")
    assert shell.json("lead", "list", "--active")[0]["owner"] == "team:aarhus"
    assert len(shell.json("lead", "statuses")) == 36
    assert "kept for caller" in shell.run("lead", "statuses").stdout


def test_users_do_on_the_command_line_what_they_may_do_in_the_api(shell: Shell) -> None:
    shell.run("lead", "owner", "team:copenhagen", "1", "--as", "admin")
    denied = [
        ("owner", "team:germany", "1", "--as", "copenhagen-1"),
        ("deactivate", "1", "--as", "copenhagen-1"),
        ("activate", "1", "--as", "copenhagen-1"),
        ("unlock", "1", "--force", "--as", "copenhagen-1"),
        ("anonymise", "1", "--yes", "--as", "copenhagen-1"),
        ("anonymise", "1", "--yes", "--as", "lead-denmark"),
        ("create", "phone=26141517", "--campaign", "DE-ENERGY", "--owner", "team:berlin", "--as", "aarhus-1"),
    ]
    for asked in denied:
        assert "needs the permission" in shell.run("lead", *asked, code=4).stderr, asked
    for asked in (("edit", "1", "city=Lund"), ("status", "1", "success"), ("lock", "1")):
        assert "there is no lead 1" in shell.run("lead", *asked, "--as", "berlin-1", code=4).stderr, asked
    assert shell.json("lead", "owner", "team:berlin", "1", "--as", "lead-germany")["refused"] == {"unknown": [1]}
    for wanted in (("--campaign", "DK-ENERGY"), ("--where", "campaign is DK-ENERGY")):
        told = shell.json("lead", "owner", "team:berlin", *wanted, "--as", "lead-germany")
        assert told == {"moved": [], "refused": {}}
    assert shell.json("lead", "lock", "1", "--as", "copenhagen-1")["locked_by"] == "user:copenhagen-1"
    assert shell.json("lead", "owner", "team:denmark", "1", "--as", "lead-denmark", "--unlock")["moved"] == [1]
    assert shell.json("lead", "deactivate", "1", "--as", "lead-denmark")["deactivated_at"] is not None


def test_nobody_who_has_left_does_anything(shell: Shell) -> None:
    shell.run("user", "deactivate", "copenhagen-1", "--yes")
    for asked in (
        ("create", "phone=26141517", "--campaign", "DK-ENERGY"), ("edit", "1", "city=Lund"), ("status", "1", "success"),
        ("lock", "1"), ("unlock", "1"), ("result", "1", "success"),
    ):  # fmt: skip
        assert "copenhagen-1 is deactivated" in shell.run("lead", *asked, "--as", "copenhagen-1", code=4).stderr, asked
    assert shell.json("lead", "show", "1")["version"] == 1


def test_the_leads_of_who_has_left_are_moved_by_name(shell: Shell) -> None:
    shell.run("lead", "owner", "user:copenhagen-1", "1", "--as", "admin")
    shell.run("user", "deactivate", "copenhagen-1", "--yes")
    assert [each["id"] for each in shell.json("lead", "list", "--owner", "user:copenhagen-1")] == [1]
    told = shell.json("lead", "owner", "team:copenhagen", "--owner", "user:copenhagen-1", "--as", "admin")
    assert told["moved"] == [1]


def test_refusals_say_why_and_end_with_four(shell: Shell) -> None:
    shell.run("lead", "lock", "1", "--as", "aarhus-1", "--minutes", "5")
    assert "lead 1 is locked by user:aarhus-1" in shell.run("lead", "lock", "1", "--as", "admin", code=4).stderr
    told = shell.run("lead", "owner", "team:denmark", "1", "99", "--as", "admin").stdout
    assert told == "0 moved to team:denmark\n1 locked: 1\n1 unknown: 99\n"
    shell.run("lead", "unlock", "1", "--as", "admin", "--force")
    stale = shell.run("lead", "edit", "1", "city=Lund", "--as", "admin", "--version", "0", code=4)
    assert "has version 3, not 0" in stale.stderr
    assert "there is no lead 7" in shell.run("lead", "show", "7", code=4).stderr
    assert "is not written as field=value" in shell.run("lead", "edit", "1", "city", "--as", "admin", code=2).stderr
    assert "name leads, or a filter" in shell.run("lead", "owner", "team:denmark", "--as", "admin", code=2).stderr


def test_leads_are_listed_by_what_a_user_may_do(shell: Shell) -> None:
    more = ("lead", "create", "--campaign", "DK-ENERGY", "--as", "admin", "--owner", "team:berlin")
    shell.run(*more, "phone=26141517")
    shell.run("lead", "deactivate", "1", "--as", "admin")

    def listed(*options: str) -> list[int]:
        return [each["id"] for each in shell.json("lead", "list", *options)]

    assert listed() == [2, 1]
    assert listed("--callable-by", "berlin-1") == [2]
    assert listed("--visible-to", "aarhus-1") == []
    assert listed("--visible-to", "lead-denmark") == [1]
    assert listed("--visible-to", "lead-germany", "--callable-by", "berlin-1") == [2]
    assert listed("--owner", "team:berlin", "--campaign", "DK-ENERGY", "--status", "open", "--pool", "1") == [2]
    assert listed("--phone", "+4526141517", "-n", "1") == [2]
    shell.run("lead", "activate", "1", "--as", "admin")
    table = shell.run("leads", "list").stdout
    assert "Anna" in table
    assert "deactivated" not in table


def test_owners_change_by_filter(shell: Shell) -> None:
    told = shell.json("lead", "owner", "team:aarhus", "--campaign", "DK-ENERGY", "--as", "admin")
    assert told == {"moved": [1], "refused": {}}
    assert shell.run("lead", "show", "1").stdout.splitlines()[2] == "owner                team:aarhus"
    asked = ["lead", "owner", "team:denmark", "--as", "admin", "--where", "owner is team:aarhus"]
    none = '{"field": "attempts", "op": "from", "value": 99}'
    assert shell.json(*asked, "--filter", none) == {"moved": [], "refused": {}}
    assert shell.json(*asked) == {"moved": [1], "refused": {}}
    for wrong in (["1"], ["--campaign", "DK-ENERGY"]):
        assert "name leads, or a filter" in shell.run(*asked, *wrong, code=2).stderr
    assert "would mean every lead" in shell.run(*asked[:-2], "--where", "every lead", code=2).stderr


def test_a_person_is_blanked_only_when_the_operator_is_sure(shell: Shell) -> None:
    sure = ("lead", "anonymise", "1", "--as", "admin")
    assert "say --yes to do it" in shell.run(*sure, code=2).stderr
    assert shell.run(*sure, "--yes").stdout == "lead 1 is anonymised\n"
    told = shell.json("lead", "show", "1")
    assert (told["status"], told["phone"], told["first_name"]) == ("anonymised", "", None)


def test_results_of_an_anonymised_person_are_handed_back_anew(shell: Shell) -> None:
    leads = shell.file("leads.csv", "Name,Phone", "Bo Holm,26141530", "Eva Dahl,26141531")
    shell.run("import", leads, "--source", "nordlead")
    number = next(each["id"] for each in shell.json("lead", "list") if each["full_name"] == "Bo Holm")
    told = shell.json("lead", "anonymise", str(number), "--as", "admin", "--yes")
    assert [(each["delivery_id"], each["rows"]) for each in told["erased"]] == [(1, [1])]
    assert told["left"] == []
    for path in (path for path in shell.home.rglob("*") if path.is_file()):
        assert b"Bo Holm" not in path.read_bytes()


def test_leads_are_listed_by_a_sentence(shell: Shell) -> None:
    shell.run("lead", "create", "phone=26141517", "city=Lund", "--campaign", "DK-ENERGY", "--as", "admin")
    wanted = ("--where", "city is lund and status is open", "--columns", "id,city,owner_name", "--sort", "-city")
    assert shell.json("lead", "list", *wanted) == [{"id": 2, "city": "Lund", "owner_name": "Company"}]
    plain = '{"field": "first_name", "op": "starts_with", "value": "an"}'
    assert [each["id"] for each in shell.json("lead", "list", "--filter", plain, "--phone", "+4526141516")] == [1]
    told = shell.run("lead", "list", "--sort", "id", "--columns", "Lead Pool Data", "--limit", "1")
    assert "user:admin" in told.stdout
    assert "there are more" in told.stderr
    assert "no lead has this field" in shell.run("lead", "list", "--where", "shoe size is 44", code=4).stderr
    assert shell.json("lead", "list", "--sort", "id", "--visible-to", "berlin-1") != []


def test_leads_are_exported_to_a_file(shell: Shell, tmp_path: Path) -> None:
    target = tmp_path / "leads.csv"
    told = shell.run("lead", "export", "-o", target, "--columns", "id,phone", "--why", "for the auditor")
    assert told.stdout.startswith(f"{target}: ")
    assert target.read_text(encoding="utf-8-sig") == "Lead,Phone\n1,+4526141516\n"
    assert "neither .csv" in shell.run("lead", "export", "-o", tmp_path / "leads.doc", code=2).stderr
