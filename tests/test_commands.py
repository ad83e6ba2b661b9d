"""`ingestd user`, `ingestd key` and `ingestd org` on a home of their own, as an operator calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ingestd import accounts, cli
from ingestd.errors import Conflict, IngestdError, Invalid, Missing
from tests.running import example_config

PASSWORD = "correct horse battery"


class Operator:
    """Somebody with a shell."""

    def __init__(self, folder: Path) -> None:
        self.config, self.home = example_config(folder), folder / "home"

    def run(self, *words: str, typed: str = "") -> str:
        """What a command prints; raises whatever ends it."""
        place = ["--config", str(self.config), "--home", str(self.home)]
        done = CliRunner().invoke(cli.app, [*words, *place], input=typed)
        if isinstance(done.exception, IngestdError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    cheap = accounts.Argon2Cost(time=1, memory_kib=8, threads=1)
    whole = accounts.hash_password
    monkeypatch.setattr(accounts, "hash_password", lambda password: whole(password, cheap))
    return Operator(tmp_path)


def user(operator: Operator, login: str) -> dict[str, Any]:
    (found,) = [each for each in operator.json("user", "list") if each["login"] == login]
    return found  # type: ignore[no-any-return]


def test_a_user_comes_changes_and_goes(operator: Operator) -> None:
    typed = f"{PASSWORD}\n{PASSWORD}\n"
    words = ("user", "add", "anna", "--name", "Anna", "--team", "berlin", "--role", "team_leader", "--code", "B-9")
    assert "user anna is there" in operator.run(*words, typed=typed)
    assert PASSWORD not in operator.run("user", "list")
    assert user(operator, "anna") == {
        "login": "anna", "name": "Anna", "team": "berlin", "role": "team_leader", "code": "B-9", "active": True,
        "permissions": ["dial", "lead_admin", "lead_pools"], "password": True,
    }  # fmt: skip
    assert "extended_data" in operator.run("user", "grant", "anna", "extended_data")
    assert "dial" not in operator.run("user", "revoke", "anna", "dial")
    operator.run("user", "edit", "anna", "--team", "hamburg", "--code", "")
    operator.run("user", "password", "anna", typed=typed)
    operator.run("user", "deactivate", "anna", "--why", "left")
    after = user(operator, "anna")
    assert (after["team"], after["code"], after["active"]) == ("hamburg", None, False)
    assert after["permissions"] == ["extended_data", "lead_admin", "lead_pools"]
    operator.run("user", "activate", "anna")
    told = operator.json("org", "audit", "--subject", "user:anna")
    assert [each["action"] for each in told] == [
        "user_changed", "user_changed", "password_set", "user_changed", "permission_revoked", "permission_granted",
        "password_set", "user_added",
    ]  # fmt: skip
    assert told[1]["why"] == "left"
    assert "left" in operator.run("org", "audit")


def test_a_user_who_is_in_the_file_has_no_password_at_first(operator: Operator) -> None:
    assert user(operator, "admin")["password"] is False
    operator.run("user", "add", "bo", "--name", "Bo", "--team", "berlin", "--no-password")
    assert user(operator, "bo")["password"] is False


def test_what_cannot_be_done_is_said(operator: Operator) -> None:
    with pytest.raises(Invalid, match="12 to 1024"):
        operator.run("user", "password", "admin", typed="short\nshort\n")
    with pytest.raises(Missing, match="no user 'nobody'"):
        operator.run("user", "grant", "nobody", "dial")
    with pytest.raises(Invalid, match="they are lead_admin"):
        operator.run("user", "grant", "admin", "everything")
    with pytest.raises(Conflict, match="dk-cph is that of the team copenhagen"):
        operator.run("org", "team", "edit", "berlin", "--code", "dk-cph ")
    with pytest.raises(Conflict, match="teams aarhus, copenhagen"):
        operator.run("org", "team", "deactivate", "denmark")
    with pytest.raises(Conflict, match="sources nordlead"):
        operator.run("org", "campaign", "deactivate", "DK-ENERGY")


def test_teams_and_campaigns_are_changed(operator: Operator) -> None:
    operator.run("org", "team", "add", "malmo", "--name", "Malmö", "--parent", "company", "--code", "SE")
    operator.run("org", "team", "edit", "malmo", "--parent", "denmark", "--name", "Malmø")
    assert {"code": "SE", "kind": "team", "owner": "malmo", "name": "Malmø"} in operator.json("org", "codes")
    assert "Malmø" in operator.run("org", "codes")
    operator.run("org", "team", "deactivate", "malmo")
    assert "Malmø  (inactive)" in operator.run("org", "show")
    (fibre,) = [each for each in operator.json("org", "campaign", "list") if each["code"] == "DE-ENERGY"]
    assert fibre["active"] is True
    with pytest.raises(Conflict):
        operator.run("org", "campaign", "deactivate", "DE-ENERGY")
    operator.run("org", "campaign", "activate", "DE-ENERGY")
    assert "DE-ENERGY" in operator.run("org", "campaign", "list")


def test_a_project_a_campaign_and_a_source_are_made(operator: Operator) -> None:
    operator.run("org", "project", "add", "WATER", "--name", "Water")
    words = ("--name", "Water", "--project", "WATER", "--region", "SE", "--template", "energy")
    operator.run("org", "campaign", "add", "SE-WATER", *words)
    operator.run("org", "campaign", "edit", "SE-WATER", "--access", "team:berlin", "--access", "team:denmark")
    (water,) = [each for each in operator.json("org", "campaign", "list") if each["code"] == "SE-WATER"]
    assert water["access"] == ["team:berlin", "team:denmark"]
    operator.run("org", "campaign", "edit", "SE-WATER", "--access", "")
    operator.run("org", "campaign", "edit", "SE-WATER", "--expires", "2027-01-31", "--template", "")
    (water,) = [each for each in operator.json("org", "campaign", "list") if each["code"] == "SE-WATER"]
    assert water["access"] == []
    assert (water["expires"], water["template"], water["max_attempts"]) == ("2027-01-31", None, 10)
    with pytest.raises(Missing):
        operator.run("source", "login", "vatten", "vatten")
    operator.run("source", "add", "vatten", "--title", "V", "--campaign", "SE-WATER", "--owner", "team:berlin")
    password = operator.run("source", "login", "vatten", "vatten").strip()
    assert len(password) == 24
    operator.run("source", "login", "vatten", "v2", "--no-password", "--key", "ssh-ed25519 AAAA partner")
    (found,) = [each for each in operator.json("source", "list") if each["name"] == "vatten"]
    assert [(each["login"], each["has_password"]) for each in found["login"]] == [("vatten", True), ("v2", False)]
    assert "argon2" not in json.dumps(found)
    operator.run("source", "deactivate", "vatten")
    assert "inactive" in operator.run("source", "list")
    operator.run("source", "activate", "vatten")


def test_an_import_says_what_it_keeps(operator: Operator) -> None:
    operator.run("org", "team", "edit", "berlin", "--name", "Berlin West")
    assert operator.json("org", "import")["kept"] == ["team berlin.name"]
    done = CliRunner().invoke(
        cli.app, ["org", "import", "--config", str(operator.config), "--home", str(operator.home)]
    )
    assert "0 added, 0 changed, 0 deactivated" in done.stdout
    assert "team berlin.name: kept" in done.stderr


def test_a_key_is_shown_once(operator: Operator) -> None:
    words = ("key", "add", "feed", "--permission", "lead_pools", "--source", "nordlead", "--days", "30")
    secret = operator.run(*words).strip()
    number, _, rest = secret.partition(".")
    assert len(rest) >= 43
    assert rest not in operator.run("key", "list") + json.dumps(operator.json("key", "list"))
    mine = operator.json("key", "add", "mine", "--permission", "dial", "--user", "admin")
    assert (mine["user"], mine["permissions"]) == ("admin", ["dial"])
    operator.run("key", "revoke", number)
    (feed,) = [each for each in operator.json("key", "list") if each["id"] == number]
    assert (feed["source"], feed["user"], feed["created_by"]) == ("nordlead", None, "command line")
    assert feed["revoked_at"]
    with pytest.raises(Missing):
        operator.run("key", "revoke", "nothing")
