"""Segments in a browser: the quickstart's step 6, in its own words."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from ingestd.errors import Invalid
from ingestd.leads import filter_text, lead, placing, segments
from ingestd.leads.filter_fields import Field, Kind
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.web.pages import comparing
from ingestd.web.pages.segments import moved
from tests.leads.conftest import Desk
from tests.pages.browsing import Site, check_access, look_at, picture

FIELDS = {
    "city": Field(name="city", title="City", kind=Kind.TEXT),
    "attempts": Field(name="attempts", title="Call attempts", kind=Kind.NUMBER),
}


def add(page: Page, field: str, op: str, value: str) -> None:
    page.get_by_label("Field", exact=True).select_option(label=field)
    page.wait_for_load_state("networkidle")
    page.get_by_label("Comparison", exact=True).select_option(label=op)
    page.get_by_label("Value").fill(value)
    page.get_by_role("button", name="Add", exact=True).click()


def build(page: Page, group: str, name: str, *comparisons: tuple[str, str, str]) -> None:
    page.get_by_role("link", name=f"New segment in {group}").click()
    for field, op, value in comparisons:
        add(page, field, op, value)
    page.get_by_label("Name of the segment").fill(name)


def test_step_6_segment_leads_for_better_targeting(site: Site) -> None:
    """Group leads by agent access, specific lead pools, or shared fields, and dial in one of them."""
    desk = Desk(engine=site.house.engine)
    rows = [{"city": "Odense"}, {"city": "Odense"}, {"city": "Skagen"}]
    odense, second, skagen = desk.leads(*rows, campaign="DK-FIBRE", owner="user:aarhus-3")
    pool = desk.lead(odense).pool_id
    with site.visit() as page:
        page.goto("/segments?project=FIBRE")
        page.get_by_role("button", name="New group").click()
        page.get_by_label("Name of the group").last.fill("Targets")
        page.get_by_role("button", name="Make the group").click()
        # Sharper targeting: shared fields (e.g. city, open status) …
        build(page, "Targets", "Odense, open", ("City", "is", "Odense"), ("Status", "is", "open"))
        expect(page.get_by_role("heading", name="Leads for which")).to_contain_text("City is Odense and Status is open")
        expect(page.locator("#preview")).to_contain_text("2 leads")
        check_access(page)
        picture(page, "segment-build")
        page.get_by_role("button", name="Save the segment").click()
        # … specific lead pools, and agent access
        build(page, "Targets", "This pool", ("Lead pool", "is", str(pool)))
        page.get_by_role("button", name="Save the segment").click()
        build(page, "Targets", "For Aarhus 3", ("Owner in reach of", "is", "user:aarhus-3"))
        page.get_by_role("button", name="Save the segment").click()
        # Each lead can belong to only one segment at a time
        placing.work(site.house.engine)
        page.reload()
        takes = page.locator("table.takes tbody tr", has_text="This pool").first
        expect(takes).to_contain_text("2 by Odense, open")
        picture(page, "segments-contested")
        # Re-use and control: copy segments to iterate quickly
        page.get_by_role("button", name="Copy Odense, open").click()
        page.get_by_role("link", name="Take away: City is Odense").click()
        add(page, "City", "is", "Skagen")
        page.get_by_label("Name of the segment").fill("Skagen, open")
        page.get_by_role("button", name="Save the segment").click()
        page.get_by_role("button", name="Move Skagen, open up").click()
        first = page.locator("table.segments tbody tr").first
        expect(first).to_contain_text("Skagen, open")
    placing.work(site.house.engine)
    # Higher agent efficiency: agents select a segment at dial start, and get leads of that segment only
    with site.visit("aarhus-3") as page:
        page.goto("/dial?campaign=DK-FIBRE")
        page.get_by_label("Segment").select_option(label="Targets: Skagen, open")
        page.get_by_role("button", name="Start").click()
        expect(page).to_have_url(re.compile(f"/dial/{skagen}"))
        page.get_by_role("button", name="Success").click()
        expect(page.get_by_text("There is no lead to call at the moment")).to_be_visible()
    with reading(site.house.engine) as connection:
        assert lead.find(connection, second).segment_id != lead.find(connection, skagen).segment_id


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/segments?project=ENERGY", "segments-none", ready=".empty")
    with site.visit() as page:
        page.goto("/segments?project=FIBRE")
        page.get_by_role("button", name="New group").click()
        page.get_by_label("Name of the group").last.fill("By city")
        page.get_by_role("button", name="Make the group").click()
        build(page, "By city", "Lund", ("City", "is one of", "Lund, Malmö"), ("Postcode", "between", "4000 to 5999"))
        page.get_by_role("button", name="Save the segment").click()
        expect(page.locator("table.segments", has_text="Lund")).to_contain_text("Postcode from 4000 to 5999")
        address = str(page.get_by_role("link", name="Lund", exact=True).get_attribute("href"))
    look_at(site, "/segments?project=FIBRE", "segments", login="lead-denmark", ready="table.takes")
    look_at(site, address, "segment", ready="#preview p")


def test_a_comparison_that_makes_no_sense_is_told(site: Site) -> None:
    with writing(site.house.engine) as connection:
        deed = Deed(actor=COMMAND_LINE, at=now())
        group = segments.add_group(connection, deed, "ENERGY", "wrong comparisons").id
    body = site.client("admin").ask("GET", f"/segments/build?group={group}&do=add&field=attempts&op=is&value=many")
    assert (body.status, b"Call attempts" in body.body, b"cannot be used" in body.body) == (422, True, True)


def test_filters_are_put_together() -> None:
    tree = filter_text.read("", FIELDS)
    tree = comparing.added(tree, "", comparing.compared(FIELDS["city"], "in", "Lund, Kiel"), FIELDS)
    tree = comparing.added(tree, "", comparing.compared(FIELDS["attempts"], "between", "1 to 3"), FIELDS)
    assert comparing.sentence(tree) == "city is one of Lund, Kiel and attempts from 1 to 3"
    assert comparing.sentence(comparing.without(tree, 1)) == "city is one of Lund, Kiel"
    other = comparing.added(tree, "any", comparing.compared(FIELDS["city"], "filled", ""), FIELDS)
    assert comparing.parts_of(other)[0] == "any"
    with pytest.raises(Invalid, match="choose the field"):
        comparing.compared(None, "is", "")


def test_moving_stops_at_the_ends() -> None:
    assert [moved([1, 2, 3], 1, to) for to in ("up", "down")] == [[1, 2, 3], [2, 1, 3]]
    assert moved([1, 2, 3], 3, "down") == [1, 2, 3]
