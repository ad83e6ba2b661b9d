"""What no store keeps, or nobody means, is refused on both databases before anything is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingestd.web.api import paging
from tests.leads.conftest import Desk
from tests.web.serving import Api

HALF = "\ud800"
"""Of a surrogate pair: JSON can write it, and UTF-8 cannot."""


def test_a_text_that_no_store_keeps_is_refused(api: Api) -> None:
    admin = api.user("admin")
    team = {"key": "malmo", "name": "Mal\0mo", "parent": "company"}
    assert admin.refused("POST", "teams", team) == (422, "request_unusable")
    nested = {"name": "x", "definition": {"title": "a\0b"}}
    assert admin.refused("POST", "sources", nested) == (422, "request_unusable")
    assert admin.refused("GET", "teams/ber%00lin") == (422, "value_unusable")
    assert admin.refused("GET", "deliveries?name=a%00b") == (422, "value_unusable")


def is_half(field: str = "city") -> dict[str, str]:
    return {"field": field, "op": "is", "value": HALF}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "leads/search", {"filter": is_half()}),
        ("POST", "leads/count", {"filter": is_half("phone")}),
        ("POST", "segments/preview", {"project": "ENERGY", "filter": is_half()}),
        ("POST", "views", {"kind": "leads", "name": "v", "filter": is_half(), "columns": ["phone"], "sort": ""}),
        ("POST", "owner-changes", {"filter": is_half(), "to": "team:aarhus"}),
        ("POST", "owner-changes", {"filter": {"status": HALF}, "to": "team:aarhus"}),
        ("POST", "leads", {"campaign": "DK-ENERGY", "fields": {"phone": "26991123", "first_name": HALF}}),
        ("PATCH", "leads/1", {"fields": {HALF: "x"}}),
        ("PATCH", "sources/nordlead", {"definition": {"title": HALF}}),
        ("PUT", "sources/nordlead/mapping", {"mapping": {HALF: "phone"}}),
    ],
)
def test_half_a_character_is_refused(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    assert api.user("admin").refused(method, path, body) == (422, "request_unusable")


def test_what_is_nested_too_deep_is_refused(api: Api) -> None:
    admin = api.user("admin")
    deep: dict[str, Any] = {"field": "city", "op": "filled"}
    for _ in range(400):
        deep = {"not": deep}
    assert admin.refused("POST", "leads/count", {"filter": deep}) == (422, "request_unusable")
    said = admin.ask("GET", f"/leads?filter={'(' * 2_000}city%20is%20x", Accept="text/html")
    assert (said.status, b"more than 32 brackets" in said.body) == (200, True)  # a list with what is wrong above it


def test_numbers_of_more_digits_than_any_has_are_refused(api: Api) -> None:
    admin, desk = api.user("admin"), Desk(engine=api.desk.engine)
    (lead,) = desk.leads({})
    edit = {"fields": {"city": "Lund"}}
    assert admin.refused("PATCH", f"leads/{lead}", edit, If_Match="9" * 5_000) == (412, "version_conflict")
    view = admin.do("POST", "views", {"kind": "leads", "name": "v", "filter": {}, "columns": ["phone"], "sort": ""})
    assert admin.refused("PATCH", f"views/{view['id']}", {"name": "w"}, If_Match="9" * 5_000) == (412, "changed_since")
    for number in (2**63, -1):
        wish = {"filter": {"pool": number}, "to": "team:aarhus"}
        assert admin.refused("POST", "owner-changes", wish) == (422, "filter_unusable")


def test_a_cursor_with_half_a_character_is_refused(api: Api) -> None:
    forged = paging.cursor(HALF)
    assert json.dumps([HALF]) == '["\\ud800"]'
    assert api.user("admin").refused("GET", f"do-not-call?cursor={forged}") == (422, "cursor_unusable")
