"""What is done with a whole pool, over the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd import foreground, samples
from ingestd.access.permissions import Permission
from ingestd.house import House
from ingestd.printing import progress
from ingestd.store.engine import writing
from ingestd.webserver import desk_of
from ingestd.worker import road_of
from tests.running import order_of, prepared
from tests.web.serving import Api, serving_at


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A home with one pool of 40 leads."""
    (tmp_path / "clean.csv").write_bytes(samples.clean(40))
    with prepared(tmp_path) as house:
        with progress() as shown:
            foreground.import_file(house, order_of(tmp_path / "clean.csv", "nordlead"), shown)
        yield house


@pytest.fixture
def api(home: House) -> Iterator[Api]:
    with serving_at(desk_of(home), home.places.run) as running:
        yield running


def test_a_pool_is_switched_shuffled_and_emptied_and_the_audit_says_so(api: Api) -> None:
    admin = api.user("admin")
    off = admin.do("POST", "pools/1/deactivate?why=prices")
    assert (off["state"], off["ready_to_dial"], off["total"]) == ("Inactive", 0, 40)
    assert admin.refused("POST", "pools/1/deactivate") == (409, "pool_state")
    on = admin.do("POST", "pools/1/activate")
    assert (on["state"], on["ready_to_dial"]) == ("Active", 40)
    assert admin.refused("POST", "pools/1/activate") == (409, "pool_state")
    assert admin.do("POST", "pools/1/shuffle")["total"] == 40
    gone = admin.do("DELETE", "pools/1/unprocessed")
    assert (gone["deleted"], gone["kept"]) == (40, {"processed": 0, "called": 0, "locked": 0})
    assert gone["pool"]["total"] == admin.get("pools/1")["total"] == 0
    assert len(admin.ask("GET", "pools/1/log.csv").body.splitlines()) == 41
    lines = admin.get("audit?subject=pool:1")["items"]
    told = [(each["action"], each["actor"], each["why"]) for each in lines]
    assert told[::-1] == [
        ("pool_deactivated", "user:admin", "prices"),
        ("pool_activated", "user:admin", ""),
        ("pool_shuffled", "user:admin", ""),
        ("pool_emptied", "user:admin", ""),
    ]


def test_a_pool_that_is_not_there_and_a_key_of_its_source_are_refused(api: Api) -> None:
    program, bound = api.key(Permission.LEAD_POOLS), api.key(Permission.LEAD_POOLS, source="nordlead")
    verbs = [("POST", "activate"), ("POST", "deactivate"), ("POST", "shuffle"), ("DELETE", "unprocessed")]
    for method, verb in verbs:
        assert program.refused(method, f"pools/99/{verb}") == (404, "pool_unknown")
        assert bound.refused(method, f"pools/1/{verb}") == (403, "key_bound")
    assert program.get("pools/1")["total"] == 40


def test_a_pool_is_undone_and_its_file_run_again(api: Api, home: House) -> None:
    admin, program = api.user("admin"), api.key(Permission.LEAD_POOLS)
    undone = admin.do("POST", "pools/1/undo?why=wrong list".replace(" ", "%20"))
    assert (undone["deleted"], undone["delivery_id"], undone["pool"]["state"]) == (40, 1, "Undone")
    assert program.refused("POST", "pools/1/undo") == (409, "pool_state")
    assert program.refused("POST", "deliveries/1/retry") == (409, "not_retryable")
    answer = program.ask("POST", "deliveries/1/rerun", {"mapping": {"Campaign tag": "comments"}})
    assert (answer.status, answer.headers["location"]) == (202, "/api/v1/deliveries/2")
    told = answer.json()
    assert (told["rerun_of"], told["deleted"], told["delivery"]["rerun_of"]) == (1, 0, 1)
    assert program.refused("POST", "deliveries/2/rerun", {}) == (409, "not_rerunnable")
    assert program.refused("POST", "deliveries/1/rerun", {"mapping": {"x": "fone"}}) == (422, "mapping_unusable")
    assert program.refused("POST", "deliveries/1/rerun", {"mapping": {}, "save": True}) == (403, "permission_missing")
    assert program.refused("POST", "deliveries/9/rerun", {}) == (404, "delivery_unknown")


def test_what_cannot_be_taken_back_is_done_by_those_who_may_change_every_lead(api: Api, home: House) -> None:
    leader, program = api.user("lead-germany"), api.key(Permission.LEAD_POOLS)
    form = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    for user in (leader, program):
        assert user.refused("DELETE", "pools/1/unprocessed") == (403, "permission_missing")
        answer = user.ask("POST", "pools/1/undo")
        assert (answer.status, answer.json()["permission"]) == (403, "extended_data")
        assert user.refused("POST", "deliveries/1/rerun", {}) == (403, "permission_missing")
    for verb in ("delete_unprocessed", "undo"):
        said = leader.ask("POST", "/pools/act", f"verb={verb}&pool=1".encode(), **form)
        assert b"not yours to change" in said.body
    assert b"not yours to change" in leader.ask("GET", "/deliveries/1/undo", Accept="text/html").body
    assert leader.ask("POST", "/deliveries/1/undo", b"", **form).status == 403
    assert leader.get("pools/1")["total"] == 40
    leader.do("POST", "pools/1/deactivate")
    api.user("admin").do("PUT", "users/lead-germany/permissions/extended_data", {"granted": True})
    assert leader.do("POST", "pools/1/undo")["deleted"] == 40


def test_a_team_leader_undoes_what_is_all_of_the_team(api: Api, home: House) -> None:
    file = b"Phone,Owner code\r\n26900001,DK-CPH\r\n26900002,CPH-101\r\n"
    leader = api.user("lead-denmark")
    number = leader.do("POST", "imports?source=nordlead&name=b.csv", file)["id"]
    road_of(home).travel(number)
    pool = leader.get(f"deliveries/{number}")["lead_pool"]
    with writing(home.engine) as connection:
        connection.exec_driver_sql(f"UPDATE leads SET processed_by_id = NULL WHERE pool_id = {pool}")
    assert api.user("lead-germany").refused("POST", f"pools/{pool}/undo") == (403, "permission_missing")
    assert leader.do("POST", f"pools/{pool}/undo")["deleted"] == 2


def test_a_number_tells_its_lead_to_those_who_see_it(api: Api) -> None:
    phone = str(api.user("admin").get("leads?limit=1")["items"][0]["fields"]["phone"]).removeprefix("+45")
    for login, told in (("lead-denmark", True), ("lead-germany", False)):
        body = api.user(login).ask("GET", f"/deliveries/phones?q={phone}", Accept="text/html").body.decode()
        assert "Inserted" in body
        assert ("/leads/" in body, "owner" in body) == (told, told)


def test_a_lead_that_was_called_holds_its_pool(api: Api, home: House) -> None:
    program = api.key(Permission.LEAD_POOLS, Permission.EXTENDED_DATA)
    with writing(home.engine) as connection:
        connection.exec_driver_sql("UPDATE leads SET attempts = 1 WHERE row = 1")
    answer = program.ask("POST", "pools/1/undo")
    assert (answer.status, answer.json()["code"], answer.json()["facts"]) == (
        409, "pool_in_use", {"kept": {"called": 1}},
    )  # fmt: skip
    assert program.get("pools/1")["total"] == 40


def test_a_file_that_waits_is_confirmed(api: Api, home: House) -> None:
    admin, program = api.user("admin"), api.key(Permission.LEAD_POOLS)
    admin.do("PATCH", "sources/nordlead", {"definition": {"on_unmapped": "ask"}})
    program.do("POST", "imports?source=nordlead&name=b.csv", b"Phone,Shoe size\r\n26900001,45\r\n")
    road_of(home).travel(2)
    held = program.get("deliveries/2")
    assert (held["state"], held["reason"]["code"]) == ("awaiting_confirmation", "columns_unmapped")
    assert program.get(f"pools/{held['lead_pool']}")["state"] == "Awaiting Confirmation"
    assert program.get("deliveries/2/summary")["unmatched_columns"] == ["Shoe size"]
    assert program.do("POST", "deliveries/2/dry-run?mapping={%22Shoe%20size%22:%22%22}")["state"] == "completed"
    assert program.refused("POST", "deliveries/1/confirm", {}) == (409, "not_awaiting")
    assert admin.do("POST", "deliveries/2/confirm", {"mapping": {"Shoe size": ""}, "save": True})["state"] == "queued"
    road_of(home).travel(2)
    assert program.get("deliveries/2")["counts"]["inserted"] == 1
    assert program.get("sources/nordlead/mapping")["mapping"] == {"Shoe size": ""}


def test_figures_of_a_pool(api: Api) -> None:
    program, bound = api.key(Permission.LEAD_POOLS), api.key(Permission.LEAD_POOLS, source="nordlead")
    (pool,) = program.get("pools?kpi=share:unprocessed&kpi=age")["items"]
    assert [each["kpi"] for each in pool["kpis"]] == ["share:unprocessed", "age"]
    assert program.refused("GET", "pools?kpi=x") == (422, "kpi_unknown")
    assert {"success_rate", "first:busy"} <= {each["kpi"] for each in program.get("kpis")}
    (first, second) = bound.get("pools/1/kpis?kpi=count:unprocessed&kpi=accept_rate")
    assert (first["kpi"], first["unit"], first["value"]) == ("count:unprocessed", "leads", 40)
    assert (second["unit"], second["value"]) == ("percent", 100)
    assert [each["value"] for each in program.get("pools/1/kpis") if each["kpi"] == "success_rate"] == [None]
    assert program.refused("GET", "pools/1/kpis?kpi=x") == (422, "kpi_unknown")
    assert program.refused("GET", "pools/9/kpis") == (404, "pool_unknown")
    other = api.key(Permission.LEAD_POOLS, source="fibreweb")
    assert other.refused("GET", "pools/1/kpis") == (404, "pool_unknown")
