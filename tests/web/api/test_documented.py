"""docs/api.md says what the API does: its examples run, and every code is explained."""

from __future__ import annotations

import ast
import gzip
import os
import re
import subprocess
from pathlib import Path

from ingestd import foreground, samples
from ingestd.access.permissions import Permission
from ingestd.house import open_house
from ingestd.preparing import prepare_store
from ingestd.printing import progress
from ingestd.store.facts import KINDS as RECORDS
from ingestd.web.problems import REJECTED
from ingestd.webserver import desk_of
from tests.databases import ROOT
from tests.running import example_config, order_of
from tests.web.serving import PASSWORD, serving_at

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
KINDS = {"Missing", "Invalid", "Conflict", "Stale", "Denied", "NotSignedIn", "TooMany"}


def codes() -> set[str]:
    """Every code with which a request is refused."""
    found = {f"{kind}_unknown" for kind in RECORDS} | {"request_unusable", "unavailable", "too_large", "body_stalled"}
    found |= set(REJECTED)
    for path in (ROOT / "ingestd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_code_is_explained() -> None:
    assert {code for code in codes() if f"`{code}`" not in PAGE} == set()


def test_no_code_is_explained_that_does_not_exist() -> None:
    told = {
        code for row in re.findall(r"^\| \d{3} \| (.*?) \|", PAGE, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    assert told - codes() == {
        "no_log",
        "no_original",
        "not_retryable",
        "not_cancellable",
        "loaded_since",
    }  # of the file, not the request


def test_the_examples_run(tmp_path: Path) -> None:
    """As they stand, in their order, with the real curl."""
    house = open_house(example_config(tmp_path), tmp_path / "home")
    prepare_store(house)
    (tmp_path / "clean.csv").write_bytes(samples.clean(20))
    (tmp_path / "march.csv").write_bytes(samples.clean(30))
    (tmp_path / "march.csv.gz").write_bytes(gzip.compress(samples.clean(30)))
    with progress() as shown:
        foreground.import_file(house, order_of(tmp_path / "clean.csv", "nordlead"), shown)
    with serving_at(desk_of(house), house.places.run) as api:
        api.user("admin")
        key = api.key(*Permission).headers["Authorization"].removeprefix("Bearer ")
        address = f"http://127.0.0.1:{api.port}/api/v1"
        environment = {**os.environ, "API": address, "KEY": key, "PASSWORD": PASSWORD}
        examples = re.findall(r"^\$ (curl .*)$", PAGE, re.MULTILINE)
        assert len(examples) > 12
        for example in examples:
            command = ["bash", "-euc", example]
            done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "leads.csv").read_bytes() == samples.clean(20)
    house.engine.dispose()
