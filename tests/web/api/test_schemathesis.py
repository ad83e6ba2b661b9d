"""Every route with requests made from its own description: none ends in a bug, or answers what it does not say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ingestd import foreground, openapi, samples
from ingestd.access import people
from ingestd.access.permissions import Permission
from ingestd.printing import progress
from ingestd.store.engine import reading
from ingestd.webserver import desk_of
from tests.running import order_of, prepared
from tests.web.serving import Client, serving_at

EXAMPLES = 3
"""of each route and each kind: those that fit the description, and those that do not"""
LONGEST = 50_000
"""characters of a request with its address; the server hangs up on heads of over 64 KiB, and says no more than 400"""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

SCHEMA = schemathesis.openapi.from_dict(json.loads(openapi.render()))
OPERATIONS: dict[str, APIOperation[Any, Any, Any, Any]] = {
    result.ok().label: result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)
}


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A program that may do everything, where a pool, its leads and a webhook are."""
    folder: Path = tmp_path_factory.mktemp("schemathesis")
    (folder / "clean.csv").write_bytes(samples.clean(5))
    with prepared(folder) as home:
        with progress() as shown:
            foreground.import_file(home, order_of(folder / "clean.csv", "nordlead"), shown)
        with reading(home.engine) as connection:
            user_id = people.known(connection, "admin").id
        with serving_at(desk_of(home), home.places.run) as api:
            program = api.key(*Permission, user_id=user_id)
            program.do("POST", "webhooks", {"url": "https://partner.example/told"})
            program.do("POST", "webhooks/1/test")
            yield program


def test_every_route_is_there() -> None:
    described = json.loads(openapi.render())["paths"]
    assert len(OPERATIONS) == sum(len(operations) for operations in described.values())


@pytest.mark.parametrize("label", OPERATIONS)
def test_a_route_answers_what_it_says(admin: Client, label: str) -> None:
    for mode in GenerationMode:
        _ask(admin, OPERATIONS[label], mode)


def _ask(admin: Client, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def asked(case: Case[Any]) -> None:
        assume(len(case.as_curl_command()) < LONGEST)
        case.call_and_validate(
            base_url=f"http://127.0.0.1:{admin.port}", headers=dict(admin.headers), checks=CHECKS, timeout=20
        )

    try:
        asked()
    except Unsatisfiable:  # a route that takes nothing cannot be asked wrongly
        assert mode is GenerationMode.NEGATIVE
