"""Webhooks over the API; and what happens to deliveries and pools is queued for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingestd import foreground, samples
from ingestd.access.permissions import Permission
from ingestd.house import House
from ingestd.printing import progress
from ingestd.webserver import desk_of
from tests.running import Daemon, order_of, until
from tests.web.serving import Api, Client, serving_at
from tests.webhooks.listening import listening

URL = "https://partner.example/told"


@pytest.fixture
def api(door: Api) -> Api:
    return door


@pytest.fixture
def admin(api: Api) -> Client:
    return api.user("admin")


def imported(home: House, folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with progress() as shown:
        foreground.import_file(home, order_of(folder / name, "nordlead"), shown)


def bodies(admin: Client, webhook: int) -> list[dict[str, Any]]:
    """What waits for an endpoint, the oldest first."""
    found = admin.get(f"webhooks/{webhook}/deliveries")["items"][::-1]
    return [json.loads(admin.get(f"webhooks/{webhook}/deliveries/{each['id']}")["body"]) for each in found]


def test_an_endpoint_is_made_edited_and_removed(admin: Client) -> None:
    made = admin.do("POST", "webhooks", {"url": URL, "events": ["delivery.failed"], "description": "ops"})
    assert made["secret"].startswith("whsec_")
    assert "secret" not in json.dumps([admin.get("webhooks"), admin.get("webhooks/1"), admin.get("audit")])
    tag = admin.ask("GET", "webhooks/1").headers["etag"]
    assert admin.do("PATCH", "webhooks/1", {"active": False}, If_Match=tag)["active"] is False
    assert admin.refused("PATCH", "webhooks/1", {"active": True}, If_Match=tag) == (412, "changed_since")
    assert admin.refused("POST", "webhooks/1/test") == (409, "webhook_inactive")
    assert admin.refused("POST", "webhooks", {"url": "ftp://a.example"}) == (422, "url_unusable")
    assert admin.refused("POST", "webhooks", {"url": URL, "events": ["nothing"]}) == (422, "event_unknown")
    admin.do("DELETE", "webhooks/1")
    assert admin.refused("GET", "webhooks/1") == (404, "webhook_unknown")


def test_who_manages_sources_manages_webhooks(api: Api) -> None:
    assert api.key(Permission.MANAGE_SOURCES).get("webhooks") == []
    assert api.key(Permission.LEAD_POOLS).refused("GET", "webhooks") == (403, "permission_missing")


def test_what_becomes_of_deliveries_and_pools_is_queued_with_it(home: House, admin: Client, tmp_path: Path) -> None:
    admin.do("POST", "webhooks", {"url": URL})
    imported(home, tmp_path, "clean.csv", samples.clean(20))
    imported(home, tmp_path, "clean.csv", samples.clean(20))
    imported(home, tmp_path, "picture.csv", samples.picture())
    admin.do("POST", "pools/1/deactivate")
    admin.do("POST", "pools/1/activate")
    admin.do("DELETE", "pools/1/unprocessed")
    told = bodies(admin, 1)
    assert [each["type"] for each in told] == [
        "delivery.completed", "delivery.duplicate", "delivery.refused",
        "pool.deactivated", "pool.activated", "pool.emptied",
    ]  # fmt: skip
    first = told[0]["data"]
    assert (first["source"], first["file"], first["state"]) == ("nordlead", "clean.csv", "completed")
    assert (first["lead_pool"], first["counts"]["inserted"]) == (1, 20)
    assert told[2]["data"]["reason"]["code"] == "not_a_table"
    assert told[5]["data"] == {"lead_pool": 1, "deleted": 20, "kept": {}}


def test_the_log_is_paged_and_a_test_is_queued(admin: Client) -> None:
    admin.do("POST", "webhooks", {"url": URL})
    for _ in range(3):
        assert admin.do("POST", "webhooks/1/test")["event"] == "webhook.test"
    page = admin.get("webhooks/1/deliveries?limit=2")
    assert [each["id"] for each in page["items"]] == [3, 2]
    rest = admin.get(f"webhooks/1/deliveries?limit=2&cursor={page['next']}")
    assert ([each["id"] for each in rest["items"]], rest["next"]) == ([1], None)
    assert admin.refused("POST", "webhooks/1/deliveries/1/replay") == (409, "message_pending")
    assert admin.refused("GET", "webhooks/1/deliveries/9") == (404, "message_unknown")
    assert admin.refused("GET", "webhooks/9/deliveries") == (404, "webhook_unknown")


def test_a_daemon_tells_what_it_has_loaded(tmp_path: Path) -> None:
    with listening() as listener, Daemon(tmp_path, INGESTD_WEBHOOKS__ALLOW_PRIVATE="true") as daemon:
        with serving_at(desk_of(daemon.house()), tmp_path / "run") as api:
            admin = api.user("admin")
            admin.do("POST", "webhooks", {"url": listener.url, "events": ["delivery.completed"]})
            daemon.send("nordlead", "clean.csv", samples.clean(20))
            until(lambda: listener.heard, "the webhook to be told")
            ((_, body),) = listener.heard
            assert json.loads(body)["data"]["counts"]["inserted"] == 20
            delivered = until(lambda: admin.get("webhooks/1/deliveries/1")["log"], "the attempt to be noted")
            assert [each["status"] for each in delivered] == [204]
            admin.do("POST", "webhooks/1/deliveries/1/replay")
            until(lambda: len(listener.heard) == 2, "the replay")
        until(lambda: daemon.events("webhook_delivered"), "the log to say so")
