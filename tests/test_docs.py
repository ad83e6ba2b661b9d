"""The documents say what the program does: nothing is left out, and no link is dead."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.main import get_command

from ingestd import cli, reference
from ingestd.ingest import validation
from ingestd.ingest.reading import records
from ingestd.model import Outcome, State
from ingestd.receive.companions import SUFFIXES
from ingestd.receive.names import PARTIAL_SUFFIXES
from ingestd.schemas import read as read_schema

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGE = ROOT / "ingestd"

FOR_OPERATORS = {
    *(
        "loaded_since",
        "no_log",
        "not_retryable",
        "not_cancellable",
        "phone_column_missing",
        "name_unusable",
        "no_original",
    ),
    *(
        "store_missing",
        "backup_exists",
        "backup_broken",
        "backup_foreign",
        "backup_in_home",
        "home_not_empty",
        "store_not_empty",
    ),
    *("user_unknown", "owner_unknown", "status_unknown", "status_not_allowed", "version_conflict", "lead_unknown"),
    *("lead_locked", "field_unknown", "lease_unusable", "dialling_refused", "segment_unknown"),
    "not_callable",
}
"""Codes that only whoever runs a command sees; they are in docs/operators.md."""


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def text(node: ast.expr | None) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def codes() -> set[str]:
    """Every code with which a file is refused or a record is judged."""
    found = set(records.SUGGESTIONS) | set(validation._RULE_CODES.values()) | set(validation._PHONE_MESSAGES)
    found |= {f"{kind}_unreadable" for kind in validation._WANTED} | {"gave_up"}
    for path in PACKAGE.rglob("*.py"):
        for call in calls(path):
            if called(call) in ("Rejected", "Fault") and call.args:
                found.update(text(call.args[0]))
            elif called(call) == "found":
                found.update(code for word in call.keywords if word.arg == "code" for code in text(word.value))
            elif called(call) == "_found" and path.name == "draft.py":
                found.update(text(call.args[2]))
    return found


def door(path: Path) -> str:
    """The word before the events of a module, such as `sftp` in `receive/sftp_files.py`."""
    return path.stem.partition("_")[0]


def events() -> set[str]:
    """Every name under which something is written to the operator's log."""
    chosen = ("upload_landed", "upload_refused", "upload_parked", "command", "command_refused")  # by an expression
    found = {f"ftp_{event}" for event in chosen}
    for path in PACKAGE.rglob("*.py"):
        for call in calls(path):
            first = text(call.args[0]) if call.args else []
            if called(call) in ("info", "warning", "error", "critical", "exception", "_tell_once", "_told"):
                found.update(first)
            elif called(call) in ("audit", "_audit", "_tell"):
                found.update(f"{door(path)}_{event}" for event in first)
    return found


def commands(group: Any, path: str = "ingestd") -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield f"{path} {name}"
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def files() -> list[Path]:
    """Everything that belongs to the project."""
    top = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in (".md", ".toml", ".lock", "")]
    folders = ("ingestd", "config", "schemas", "tests", "systemd", "docs", "bench", ".ci")
    below = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in (*top, *below) if path.suffix != ".pyc"]


def test_the_configuration_reference_is_up_to_date() -> None:
    told = "run: python -m ingestd.reference > docs/configuration.md"
    assert page("docs/configuration.md") == reference.render(), told


@pytest.mark.parametrize("command", sorted(commands(get_command(cli.app))))
def test_every_command_is_documented(command: str) -> None:
    assert any(command in path.read_text(encoding="utf-8") for path in PAGES)


def test_no_command_is_documented_that_does_not_exist() -> None:
    known = set(commands(get_command(cli.app)))
    for path in PAGES:
        for block in re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for told in re.findall(r"^\$ (?:\S+=\S+ )*(ingestd .*)", block, re.MULTILINE):
                assert any(f"{told} ".startswith(f"{command} ") for command in known), f"{path.name}: {told}"


def test_no_command_is_named_that_does_not_exist() -> None:
    for path in PAGES:
        for words in re.findall(r"`ingestd ([a-z][^`]*)`", path.read_text(encoding="utf-8")):
            group: Any = get_command(cli.app)
            for word in words.split():
                if not hasattr(group, "commands") or not re.fullmatch("[a-z|-]+", word) or word.startswith("-"):
                    break
                known = [group.commands.get(name) for name in word.split("|")]
                assert all(known), f"{path.name}: ingestd {words}"
                group = known[0]


def test_every_code_is_explained() -> None:
    partners, operators = page("docs/partners.md"), page("docs/operators.md")
    missing = {code for code in codes() if f"`{code}`" not in (operators if code in FOR_OPERATORS else partners)}
    assert not missing


def test_no_code_is_explained_that_does_not_exist() -> None:
    tables = re.findall(r"^\| `([a-z_]+)` \|", page("docs/partners.md").partition("## Refused files")[2], re.MULTILINE)
    assert len(tables) == len(set(tables))
    assert set(tables) - codes() == set()


def test_every_test_that_the_quickstart_names_is_there() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", page("docs/quickstart.md"))
    assert len(named) > 40
    assert [(file, test) for file, test in named if f"def {test}(" not in page(file)] == []


def test_every_event_of_the_log_is_explained() -> None:
    assert {event for event in events() if f"`{event}`" not in page("docs/operations.md")} == set()


@pytest.mark.parametrize("word", [*State, *Outcome])
def test_every_state_and_outcome_is_explained(word: str) -> None:
    assert f"`{word}`" in page("docs/operators.md")


def test_partners_know_every_header_that_means_a_field() -> None:
    told = page("docs/partners.md")
    for template in (None, "energy", "fibre"):
        for field in read_schema(ROOT / "schemas", template).fields:
            assert {name for name in (field.title, *field.aliases) if name not in told} == set()


@pytest.mark.parametrize("suffix", [*PARTIAL_SUFFIXES, *SUFFIXES])
def test_partners_know_which_names_wait(suffix: str) -> None:
    assert f"`{suffix}`" in page("docs/partners.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        assert aim.exists(), f"{path.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", aim.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def pictures(path: Path) -> set[Path]:
    """What a page shows, with a text for whoever does not see it."""
    ways = r'!\[[^\]]+\]\(([^)]+)\)|<img src="([^"]+)" alt="[^"]+">|srcset="([^"]+)"'
    return {(path.parent / "".join(found)).resolve() for found in re.findall(ways, path.read_text(encoding="utf-8"))}


def test_every_picture_is_there_and_shown_somewhere() -> None:
    """`make pictures` takes them."""
    there = set((ROOT / "docs" / "images").iterdir())
    assert set().union(*map(pictures, PAGES)) == there
    assert {picture.name for picture in there if picture.stat().st_size > 150 * 1024} == set()


# The letters in brackets keep this file from finding itself.
UNWANTED = re.compile(r"/(?:wor[k]|roo[t]|hom[e])/|py[p]i\.org|python[h]osted|(?<!emit-)index[-]url|://mirro[r]")


def test_nothing_names_a_machine_or_where_packages_come_from() -> None:
    for path in files():
        content = path.read_bytes().decode("utf-8", "replace")
        found = UNWANTED.search(content)
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


def test_the_log_is_json_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/operations.md says so."""
    from ingestd import journal  # noqa: PLC0415 - configures structlog for this process, so it is undone below

    before = structlog.get_config()
    try:
        journal.configure()
        structlog.get_logger().info("something_happened", rows=1)
    finally:
        structlog.configure(**before)
    assert '"event": "something_happened"' in capsys.readouterr().err
