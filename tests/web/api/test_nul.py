"""The character U+0000, which PostgreSQL keeps in no text: refused on both databases, before anything is asked."""

from __future__ import annotations

from tests.web.serving import Api


def test_a_text_that_no_store_keeps_is_refused(api: Api) -> None:
    admin = api.user("admin")
    team = {"key": "malmo", "name": "Mal\0mo", "parent": "company"}
    assert admin.refused("POST", "teams", team) == (422, "request_unusable")
    nested = {"name": "x", "definition": {"title": "a\0b"}}
    assert admin.refused("POST", "sources", nested) == (422, "request_unusable")
    assert admin.refused("GET", "teams/ber%00lin") == (422, "value_unusable")
    assert admin.refused("GET", "deliveries?name=a%00b") == (422, "value_unusable")
