"""A client that others generate from the API's description works: it imports a file and reads what became of it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ingestd import openapi, samples
from ingestd.access.permissions import Permission
from ingestd.webserver import desk_of
from ingestd.worker import road_of
from tests.running import prepared
from tests.web.serving import serving_at

NAME = "generated_ingestd_client"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the generated package."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(openapi.render(), encoding="utf-8")
    (folder / "config.yaml").write_text("post_hooks: []\n", encoding="utf-8")  # it need not look well
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"]
    command += ["--config", "config.yaml", "--meta", "none", "--output-path", NAME]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def module(path: str) -> Any:
    return import_module(f"{NAME}.{path}")


def test_every_route_has_its_function(generated: Path) -> None:
    """A generator leaves out what it does not understand, such as a body that is only text/csv."""
    made = {path.stem for path in (generated / NAME / "api").glob("*/*.py")} - {"__init__"}
    described = {each["operationId"] for each in _operations()}
    assert described - made == set()


def _operations() -> list[dict[str, Any]]:
    paths = json.loads(openapi.render())["paths"]
    return [operation for operations in paths.values() for operation in operations.values()]


def test_a_generated_client_imports_a_file(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(generated))
    with prepared(tmp_path) as home, serving_at(desk_of(home), home.places.run) as api:
        key = api.key(*Permission).headers["Authorization"].removeprefix("Bearer ")
        with module("client").AuthenticatedClient(base_url=f"http://127.0.0.1:{api.port}", token=key) as client:
            body = module("types").File(payload=io.BytesIO(samples.clean(20)), file_name="march.csv")
            queued = module("api.imports.import_file").sync(
                client=client, body=body, source="nordlead", name="march.csv"
            )
            assert queued.state == "queued"
            road_of(home).travel(queued.id)
            loaded = module("api.deliveries.get_delivery").sync(client=client, number=queued.id)
            assert (loaded.state, loaded.counts.inserted) == ("completed", 20)
            pool = module("api.pools.get_pool").sync(client=client, number=loaded.lead_pool)
            assert (pool.state, pool.total) == ("Active", 20)
            missing = module("api.deliveries.get_delivery").sync(client=client, number=99)
            assert missing.code == "delivery_unknown"
            made = module("models.numbers_new").NumbersNew(numbers=["+4526000001"], reason="asked")
            listed = module("api.do_not_call.add_do_not_call").sync(client=client, body=made)
            assert listed.added == 1
    for name in [each for each in sys.modules if each.partition(".")[0] == NAME]:
        del sys.modules[name]
