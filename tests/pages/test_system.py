"""The system page and the audit in a real browser."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingestd.node import Node
from ingestd.organisation import changes
from ingestd.store import audit
from ingestd.store.audit import COMMAND_LINE, Deed, Wanted
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.store.nodes import Nodes
from tests.pages.browsing import Site, look_at


def registered(site: Site, name: str) -> tuple[Nodes, int]:
    nodes = Nodes(engine=site.house.engine)
    node = Node(name=name, home=name, place=f"host:/srv/{name}", version="1.0", roles=("ftp", "web", "worker"))
    return nodes, nodes.register(node)


def renamed(site: Site, times: int) -> None:
    for number in range(times):
        with writing(site.house.engine) as connection:
            deed = Deed(actor=COMMAND_LINE, at=now(), why=f"<i>why {number}</i>")
            changes.edit(connection, deed, "team", "hamburg", {"name": f"Hamburg {number}"})
    with writing(site.house.engine) as connection:
        changes.edit(connection, Deed(actor=COMMAND_LINE, at=now()), "team", "hamburg", {"name": "Hamburg"})


def test_nodes_queue_and_disk(site: Site) -> None:
    nodes, number = registered(site, "alpha")
    nodes.tell(number, "worker-1", {"delivery": 1, "stage": "load", "since": now().isoformat()})
    with site.visit() as page:
        page.goto("/system")
        row = page.get_by_role("row").filter(has_text="alpha")
        row.get_by_text("Running").wait_for()
        row.get_by_text("worker-1: delivery 1").wait_for()
        page.get_by_text("waiting for a worker").wait_for()
        page.get_by_text("Taken").wait_for()
        nodes.leave(number, "alpha")
        row.get_by_text("Stopped").wait_for()


def test_the_audit_says_who_changed_what_and_why(site: Site) -> None:
    renamed(site, 55)
    with site.visit() as page:
        page.goto("/system/audit?what=team:hamburg")
        row = page.get_by_role("row").nth(2)
        row.get_by_text("<i>why 54</i>").wait_for()
        assert row.locator("del").inner_text() == "Hamburg 53"
        page.get_by_role("link", name="Next page").click()
        page.get_by_text("<i>why 0</i>").wait_for()
        page.get_by_role("link", name="First page").click()
        page.get_by_label("Who").fill("nobody")
        page.get_by_role("button", name="Filter").click()
        page.get_by_text("No change answers to this").wait_for()
        assert "who=nobody" in page.url
        page.go_back()
    assert site.client("admin").ask("GET", "/system/audit?since=tomorrow").status == 422


def test_who_what_and_when_narrow_the_audit(site: Site) -> None:
    renamed(site, 1)
    with reading(site.house.engine) as connection:
        newest = audit.latest(connection, limit=1)[0].at

        def found(wanted: Wanted) -> list[str]:
            return [each.subject for each in audit.latest(connection, limit=500, wanted=wanted)]

        assert set(found(Wanted(what="team:hamburg"))) == {"team:hamburg"}
        assert {subject.partition(":")[0] for subject in found(Wanted(what="team"))} == {"team"}
        assert found(Wanted(what="team_changed"))
        assert found(Wanted(what="te%")) == []
        assert found(Wanted(who="command line"))
        assert found(Wanted(since=newest + timedelta(seconds=1))) == []
        assert found(Wanted(until=newest)) == found(Wanted())[len(found(Wanted(since=newest))) :]


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    nodes, number = registered(site, "beta")
    nodes.tell(number, "ftp", {"ftp": {"sessions": 2, "uploads": 1}})
    renamed(site, 3)
    look_at(site, "/system", "system", ready="#now")
    look_at(site, "/system/audit", "audit")
