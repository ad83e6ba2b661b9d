"""The command line, as a shell sees it: exit codes, streams, JSON, and an answer before the heavy modules load."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ingestd import cli
from tests.running import ROOT, example_config

CONFIGURATION = 78


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a shell sees of a command."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """Runs `ingestd` with one home: in this process, which takes a tenth of the time, or as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config, self.home = folder, example_config(folder), folder / "home"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INGESTD_")},
            "INGESTD_FTP__PORT": "0",
            "INGESTD_HTTP__PORT": "0",
            "INGESTD_SFTP__PORT": "0",
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *arguments: str | Path, code: int = 0, apart: bool = False, **environment: str) -> Done:
        words = [str(each) for each in arguments]
        if "--help" not in words:
            words += ["--config", str(self.config), "--home", str(self.home)]
        done = (self._apart if apart else self._here)(words, {**self.environment, **environment})
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def _apart(self, words: list[str], environment: dict[str, str]) -> Done:
        command = [sys.executable, "-m", "ingestd", *words]
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        return Done(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def _here(self, words: list[str], environment: dict[str, str]) -> Done:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(sys, "argv", ["ingestd", *words]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            cli.main()
        told = []
        for stream in (out, err):
            stream.seek(0)
            told.append(stream.read())
        return Done(returncode=int(ended.value.code or 0), stdout=told[0], stderr=told[1])

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def file(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home with one delivery of four records: two loaded, two rejected."""
    shell = Shell(tmp_path_factory.mktemp("cli"))
    leads = shell.file(
        "leads.csv",
        "Name,Phone,City,Owner code",
        "Anna Holm,26 14 15 16,Odense,DK-AAR",
        "Erik Dahl,+45 26 14 15 17,Esbjerg,",
        "Pia Lund,12,Aalborg,DK-AAR",
        "Ole Bach,26141518,Aarhus,DK-ARA",
    )
    told = json.loads(shell.run("import", leads, "--source", "nordlead", "--json", code=3, apart=True).stdout)
    assert (told["delivery"], told["lead_pool"]) == (1, 1)
    return shell


# --- before anything is loaded


def test_a_dry_run_says_what_an_import_would_do_and_does_nothing(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    file = shell.folder / "two.csv"
    file.write_bytes(b"Phone,Owner code,Shoe\r\n26000001,DK-CPH,1\r\n26000002,nobody,2\r\n")
    told = shell.run("import", str(file), "--source", "nordlead", "--dry-run", code=3).stdout
    assert told.splitlines()[:3] == [
        "would be completed_with_rejects; nothing was loaded",
        "  2 records into DK-ENERGY: 1 inserted, 1 rejected",
        "  1 leads to team:copenhagen",
    ]
    assert "ownership_code_unknown in 'Owner code': 1 (errors)" in told
    assert "ignored columns: Shoe" in told
    assert shell.json("deliveries") == []
    data = shell.json("import", str(file), "--source", "nordlead", "--dry-run", code=3)
    shell.run("import", str(file), "--source", "nordlead", code=3)
    assert data["counts"] == shell.json("deliveries")[0]["counts"]
    again = shell.run("import", str(file), "--source", "nordlead", "--dry-run").stdout
    assert again.startswith("would be duplicate")


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    """So `--help` answers at once."""
    heavy = ["polars", "sqlalchemy", "pandera", "numpy", "pyftpdlib", "pydantic", "phonenumbers", "rich.progress"]
    program = f"import sys, ingestd.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_command_explains_itself(shell: Shell) -> None:
    for command in ("serve", "demo", "check", "import", "log", "status", "org", "dnc"):
        assert "Usage" in shell.run(command, "--help").stdout


def test_the_exit_codes_are_told(shell: Shell) -> None:
    told = " ".join(shell.run("--help").stdout.split())
    assert "0 ok, 1 failure, 2 usage, 3 completed with rejects, 4 refused, 78 configuration error" in told


# --- exit codes


@pytest.mark.parametrize(
    "words",
    [
        ["import", "absent.csv", "--source", "nordlead"],
        ["import", ".", "--source", "nordlead"],
        ["import", "leads.csv"],
        ["dnc", "import", "."],
        ["log", "one"],
        ["log", "1", "--kind", "everything"],
        ["deliveries", "--limit", "0"],
        ["unheard-of"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_2(shell: Shell, words: list[str]) -> None:
    done = shell.run(*words, code=2, apart=words == ["unheard-of"])
    assert done.stdout == ""
    assert "Error" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["log", "99"], "no delivery became the pool 99"),
        (["log", "99", "--delivery"], "there is no delivery 99"),
        (["retry", "99"], "there is no delivery 99"),
        (["deliveries", "cancel", "99"], "there is no delivery 99"),
        (["pools", "delete", "77", "--as", "admin"], "there is no pool 77"),
        (["pools", "delete", "1", "--as", "copenhagen-1"], "this needs the permission lead_pools"),
        (["pools", "--kpi", "foo"], "foo"),
        (["lead", "list", "--where", "shoe is 44"], "no lead has this field"),
        (["org", "team", "deactivate", "denmark"], "teams aarhus, copenhagen"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_had_is_4_in_one_line(shell: Shell, words: list[str], told: str) -> None:
    done = shell.run(*words, code=4)
    assert done.stdout == ""
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_home_that_is_made_is_told_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    told = f"{shell.home} was not there; a new home was made\n"
    assert told in shell.run("deliveries").stderr
    assert told not in shell.run("deliveries").stderr


def test_a_day_says_how_it_is_written(shell: Shell) -> None:
    words = ("org", "campaign", "edit", "DK-ENERGY")
    told = shell.run(*words, "--expires", "31.01.2027", code=2).stderr
    assert "'31.01.2027' is no day; write it as 2027-01-31" in " ".join(told.replace("│", " ").split())
    assert "(found 'dk')" in shell.run(*words, "--region", "dk", code=4).stderr


def test_a_clean_file_is_0_and_the_same_again_is_a_duplicate(shell: Shell) -> None:
    clean = shell.file("clean.csv", "Name,Phone", "Tove Gade,26141520")
    first = shell.json("import", clean, "--source", "nordlead")
    assert (first["state"], first["counts"]["inserted"]) == ("completed", 1)
    again = shell.run("import", clean, "--source", "nordlead")
    assert f"the same file came before, as delivery {first['delivery']}; it was not loaded again" in again.stdout


def test_rejects_are_3_and_the_next_step_is_told(shell: Shell) -> None:
    part = shell.file("part.csv", "Name,Phone", "A,26141521", "B,no phone")
    done = shell.run("import", part, "--source", "nordlead", code=3)
    assert "2 records: 1 inserted, 1 rejected" in done.stdout
    assert "--kind errors" in done.stdout
    assert done.stderr == "", "nobody watches a bar that is not on a terminal"


def test_a_refused_file_is_4_and_says_what_to_do(shell: Shell) -> None:
    wrong = shell.file("wrong.csv", "Name,Town", "A,Odense")
    done = shell.run("import", wrong, "--source", "nordlead", code=4, apart=True)
    assert "required_column_missing: no column of this file is 'Phone'" in done.stdout
    assert "name it 'Phone'" in done.stdout
    assert shell.json("import", wrong, "--source", "nordlead", code=4)["state"] == "refused"


def test_a_file_over_the_limit_is_4(shell: Shell) -> None:
    large = shell.folder / "large.csv"
    with large.open("wb") as file:
        file.truncate(35 * 1024 * 1024 + 1)
    done = shell.run("import", large, "--source", "nordlead", code=4)
    assert "36,700,161 bytes; this source takes at most 36,700,160" in done.stderr


def test_an_unknown_source_is_4_and_names_the_known_ones(shell: Shell) -> None:
    done = shell.run("import", "leads.csv", "--source", "nobody", code=4)
    assert "known are: fibreweb, nordlead, stadtwerk" in done.stderr


def test_a_broken_configuration_is_78_in_one_line(shell: Shell) -> None:
    for command in (["pools"], ["import", "leads.csv", "--source", "nordlead"], ["serve"]):
        done = shell.run(*command, code=CONFIGURATION, apart=command == ["serve"], INGESTD_FTP__PORT="high")
        assert done.stderr.count("\n") == 1
        assert "ftp.port" in done.stderr


@pytest.mark.parametrize(
    ("roles", "told"),
    [("ftp,mail", "mail: is no role; the roles are ftp, sftp, folder, web, worker"), ("sftp", "sftp.enabled is false")],
)
def test_a_role_that_cannot_be_had_is_78_in_one_line(shell: Shell, roles: str, told: str) -> None:
    done = shell.run("serve", "--roles", roles, code=CONFIGURATION, apart=True, INGESTD_SFTP__ENABLED="false")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_database_that_is_away_is_1(shell: Shell) -> None:
    done = shell.run("pools", code=1, INGESTD_STORE__URL="postgresql+psycopg://nobody@127.0.0.1:1/leads")
    assert done.stderr.startswith("ingestd: the database is not available")


@pytest.mark.parametrize("command", ["deliveries", "serve"])
def test_a_store_that_cannot_be_opened_is_78_in_one_line(tmp_path: Path, command: str) -> None:
    shell = Shell(tmp_path)
    shell.home.mkdir()
    (shell.home / "ingestd.db").write_bytes(b"not a database" * 500)
    done = shell.run(command, code=CONFIGURATION)
    assert "file is not a database; restore a backup" in done.stderr
    assert done.stderr.count("\n") == 1


def test_check_is_0_or_78(shell: Shell) -> None:
    assert all(check["ok"] for check in shell.json("check"))
    done = shell.run("check", code=CONFIGURATION, INGESTD_FTP__PORT="high")
    assert done.stdout.startswith("FAIL  configuration")


# --- what it prints


def test_deliveries_as_a_table_and_as_json(shell: Shell) -> None:
    assert "completed_with_rejects" in shell.run("deliveries").stdout
    first = shell.json("deliveries", "--source", "nordlead")[-1]
    assert (first["delivery"], first["file"], first["source"]) == (1, "leads.csv", "nordlead")
    assert first["counts"] == {
        "records": 4, "inserted": 2, "updated": 0, "unchanged": 0, "duplicate": 0, "rejected": 2, "discarded": 0
    }  # fmt: skip
    assert shell.json("deliveries", "--source", "fibreweb") == []
    assert len(shell.json("deliveries", "--limit", "1")) == 1


def test_an_empty_list_is_not_a_misspelt_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for words in (
        ["deliveries"],
        ["pools"],
        ["deliveries", "--source", "Nordlead"],
        ["pools", "--campaign", "dk-energy"],
    ):
        assert shell.run(*words).stderr.endswith("nothing yet\n")
    told = shell.run("deliveries", "--source", "nordled", code=4).stderr
    assert "there is no source 'nordled'; is 'nordlead' meant?" in told
    told = shell.run("pools", "--campaign", "DK-ENRGY", code=4).stderr
    assert "there is no campaign 'DK-ENRGY'; is 'DK-ENERGY' meant?" in told


def test_pools_with_totals_and_owners(shell: Shell) -> None:
    pool = shell.json("pools", "--campaign", "DK-ENERGY")[-1]
    assert (pool["name"], pool["state"], pool["total"], pool["ready_to_dial"]) == ("leads.csv", "Active", 2, 2)
    assert {owner["ownership_code"]: owner["leads"] for owner in pool["owners"]} == {"DK": 1, "DK-AAR": 1}
    assert shell.json("pools", "--campaign", "DE-ENERGY") == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("full", "4,5,5,rejected,,,,DK-ARA,26141518,+4526141518,ownership_code_unknown"),
        ("errors", "is 'DK-AAR' meant?"),
        ("rejected", "Name,Phone,City,Owner code\nPia Lund,12,Aalborg,DK-AAR\nOle Bach,26141518,Aarhus,DK-ARA\n"),
        ("original", "Anna Holm,26 14 15 16,Odense,DK-AAR\n"),
        ("summary", '"code": "phone_too_short"'),
    ],
)
def test_every_kind_of_log(shell: Shell, kind: str, told: str) -> None:
    assert told in shell.run("log", "1", "--kind", kind).stdout


def test_a_log_into_a_file(shell: Shell) -> None:
    path = shell.folder / "original.csv"
    done = shell.run("log", "1", "--delivery", "--kind", "original", "-o", path)
    assert done.stdout == ""
    assert path.read_bytes() == (shell.folder / "leads.csv").read_bytes()


@pytest.mark.parametrize("words", [["log", "1"], ["lead", "export"]], ids=" ".join)
@pytest.mark.parametrize("place", ["absent/x.csv", "leads.csv/x.csv", "folder.csv"])
def test_a_file_that_cannot_be_written_is_named(shell: Shell, words: list[str], place: str) -> None:
    (shell.folder / "folder.csv").mkdir(exist_ok=True)
    done = shell.run(*words, "-o", shell.folder / place, code=1)
    assert done.stderr.startswith(f"ingestd: {shell.folder / place} cannot be written: ")
    assert not list(shell.folder.glob("*.part"))


def test_a_full_disk_is_told(shell: Shell) -> None:
    assert "cannot be written: No space left" in shell.run("log", "1", "-o", "/dev/full", code=1).stderr


def test_a_log_as_json_lines(shell: Shell) -> None:
    rows = [json.loads(line) for line in shell.run("log", "1", "--json").stdout.splitlines()]
    assert [row["outcome"] for row in rows] == ["inserted", "inserted", "rejected", "rejected"]
    assert json.loads(shell.run("log", "1", "--kind", "summary").stdout)["counts"]["records"] == 4
    shell.run("log", "1", "--kind", "rejected", "--json", code=2)


def test_status_without_a_daemon(shell: Shell) -> None:
    assert shell.run("status").stdout.startswith("not running\n")
    told = shell.json("status")
    assert (told["running"], told["doors"], told["queue"]["ready"]) == (False, {}, 0)
    assert (told["nodes"], told["waiting"]) == ([], 0)


def test_the_organisation_is_applied_once(shell: Shell) -> None:
    nothing = {"added": 0, "changed": 0, "deactivated": 0, "kept": [], "overruled": []}
    assert shell.json("org", "import") == shell.json("org", "import") == nothing
    assert shell.run("org", "import").stdout == "0 added, 0 changed, 0 deactivated\n"


def test_a_changed_organisation_is_applied(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.json("org", "import")["added"] == 0, "the first command has applied it"
    path = shell.config / "organisation.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"Copenhagen Evening"', '"Late shift"'), encoding="utf-8")
    assert shell.json("org", "import")["changed"] == 1
    assert "Late shift  [DK-CPH-EVE]" in shell.run("org", "show").stdout


def test_the_team_tree(shell: Shell) -> None:
    lines = shell.run("org", "show").stdout.splitlines()
    assert lines[:2] == ["Company  [COMPANY]", "  · admin, admin"]
    assert "      · aarhus-1, agent  [AAR-101]" in lines
    assert shell.json("org", "show")[0]["key"] == "company"


def test_numbers_nobody_may_call(shell: Shell) -> None:
    listed = shell.file("dnc.txt", "26141530", "+45 26 14 15 31", "nonsense")
    first = shell.json("dnc", "import", listed, "--region", "DK", code=3)
    assert (first["added"], first["known"], len(first["unreadable"])) == (2, 0, 1)
    again = shell.run("dnc", "import", listed, "--region", "DK", code=3)
    assert "0 added, 2 known already, 1 unreadable" in again.stdout
    assert "'nonsense' is not a phone number" in again.stderr
    table = shell.file("dnc.csv", "name,phone", "A,26141532")
    assert shell.json("dnc", "import", table, "--campaign", "DK-ENERGY")["added"] == 1
    called = shell.file("called.csv", "Name,Phone", "A,26141530", "B,26141532", "C,26141533", "D,26141534")
    assert shell.json("import", called, "--source", "nordlead", code=3)["counts"]["rejected"] == 2
    elsewhere = shell.run("dnc", "import", table, "--campaign", "SE-ENERGY", code=4)
    assert "the campaign 'SE-ENERGY' does not exist" in elsewhere.stderr


def test_a_refused_delivery_is_queued_once_more(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    wrong = shell.file("wrong.csv", "Name,Nummer", "A,26141540")
    shell.run("import", wrong, "--source", "nordlead", code=4)
    assert shell.run("retry", "1").stdout == "delivery 1 is queued\n"
    assert shell.json("deliveries")[0]["state"] == "queued"
    assert shell.json("status")["queue"]["ready"] == 1


def test_a_loaded_delivery_is_not_loaded_again(shell: Shell) -> None:
    assert "nothing to retry" in shell.run("retry", "1", code=4).stderr


def test_the_readme_shows_what_is_printed(shell: Shell) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (shell.folder / "leads.csv").read_text(encoding="utf-8") in readme
    assert shell.run("log", "1").stdout.replace("\r\n", "\n") in readme
    assert shell.run("log", "1", "--kind", "rejected").stdout in readme


def test_a_file_is_uploaded_without_a_source(tmp_path: Path) -> None:
    """As the API and the pages do it: a campaign, and who gets what names no code."""
    shell = Shell(tmp_path)
    file = shell.file("upload.csv", "Tel.,Owner code", "26000001,", "26000002,DK-AAR", "26000003,nobody")
    into = ["import", file, "--campaign", "dk-energy", "--owner", "code:dk-cph", "--mapping", '{"Tel.": "phone"}']
    said = shell.json(*into, "--dry-run", code=3)
    assert {f"{share['kind']}:{share['owner']}": share["leads"] for share in said["owners"]} == {
        "team:copenhagen": 1,
        "team:aarhus": 1,
    }
    assert shell.json("deliveries") == []
    done = shell.json(*into, "--as", "admin", code=3)
    assert said["counts"] == done["counts"]
    listed = shell.json("deliveries", "--source", "upload")[0]
    assert (listed["source"], listed["state"]) == ("upload", "completed_with_rejects")
    pool = shell.json("pools", "--campaign", "DK-ENERGY")[0]
    assert (pool["uploaded_by"], pool["total"]) == ("upload (user:admin)", 2)
    assert len(shell.json("lead", "list", "--where", "uploaded_by is user:admin")) == 2
    assert shell.json(*into, "--dry-run")["state"] == "duplicate"
    coded = shell.file("coded.csv", "Phone,Owner code", "26000004,DK-AAR")
    assert shell.json("import", coded, "--campaign", "DK-ENERGY")["counts"]["inserted"] == 1
    nobodys = shell.file("nobodys.csv", "Phone,Owner code", "26000005,", "26000006,DK-AAR")
    for more in ([], ["--dry-run"]):
        unsaid = shell.run("import", nobodys, "--campaign", "DK-ENERGY", *more, code=2).stderr
        assert "1 records have no Lead Ownership Code; say with --owner" in " ".join(unsaid.replace("│", " ").split())
    for words, code, told in (
        (["--owner", "team:denmark"], 2, "name its source with --source"),
        (["--campaign", "NONE"], 4, "there is no active campaign 'NONE'"),
        (["--campaign", "DK-ENERGY", "--owner", "team:denmrk"], 4, "is 'team:denmark' meant?"),
        (["--campaign", "DK-ENERGY", "--mapping", '{"a": "shoe"}'], 4, "shoe"),
        (["--source", "nordlead", "--campaign", "DE-ENERGY"], 4, "does not load into DE-ENERGY"),
        (["--campaign", "DK-ENERGY", "--as", "copenhagen-1"], 4, "this needs the permission lead_pools"),
    ):
        for more in ([], ["--dry-run"]):
            assert told in " ".join(shell.run("import", file, *words, *more, code=code).stderr.split()), words
