"""Projects and campaigns in a real browser."""

from __future__ import annotations

from datetime import date

import pytest
from playwright.sync_api import expect

from ingestd.organisation import changes
from ingestd.store.engine import reading
from tests.pages.browsing import Site, check_access, look_at


def facts(site: Site, code: str) -> dict[str, object]:
    with reading(site.house.engine) as connection:
        return dict(changes.get(connection, "campaign", code).facts)


def test_a_project_and_a_campaign_are_made_changed_and_ended(site: Site) -> None:
    with site.visit() as page:
        page.goto("/campaigns")
        page.get_by_text("New project").click()
        page.get_by_label("Name", exact=True).fill("Water")
        page.get_by_label("Code", exact=True).fill("WATER")
        page.get_by_role("button", name="Make the project").click()
        page.get_by_text("The project Water is there.").wait_for()
        page.get_by_role("link", name="New campaign", exact=True).click()
        page.get_by_label("Code", exact=True).fill("SE-WATER")
        page.get_by_label("Name", exact=True).fill("Water in Sweden")
        page.get_by_label("Project").select_option("WATER")
        page.get_by_label("Region").fill("se")
        page.get_by_label("Time zone").fill("Europe/Nowhere")
        page.get_by_role("button", name="Make the campaign").click()
        page.get_by_role("alert").get_by_text("No such time zone").wait_for()
        check_access(page)
        page.get_by_label("Time zone").fill("Europe/Stockholm")
        page.get_by_role("button", name="Make the campaign").click()
        page.get_by_text("The campaign Water in Sweden is there.").wait_for()
        page.get_by_label("Last day").fill("2027-06-30")
        page.get_by_label("A number that is there already").select_option("update")
        page.get_by_label("Denmark").check()
        page.get_by_label("And these users").fill("admin, lead-germany")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Saved.").wait_for()
        expect(page.get_by_label("Denmark")).to_be_checked()
        known = facts(site, "SE-WATER")
        assert (known["region"], known["on_duplicate"], known["expires"]) == (
            "SE",
            "update",
            date(2027, 6, 30).isoformat(),
        )
        assert known["access"] == ["team:denmark", "user:admin", "user:lead-germany"]
        page.get_by_role("button", name="End it").first.click()
        page.get_by_role("dialog").get_by_role("button", name="End it").click()
        page.get_by_text("The campaign is not active any more.").wait_for()
        assert facts(site, "SE-WATER")["active"] is False


def test_a_campaign_of_a_source_cannot_be_ended(site: Site) -> None:
    with site.visit() as page:
        page.goto("/campaigns/DE-ENERGY")
        page.get_by_role("button", name="End it").first.click()
        page.get_by_role("dialog").get_by_role("button", name="End it").click()
        page.get_by_role("alert").get_by_text("stadtwerk").wait_for()
    assert facts(site, "DE-ENERGY")["active"] is True


def test_who_only_looks_sees_the_rules(site: Site) -> None:
    with site.visit("lead-denmark") as page:
        page.goto("/campaigns?q=energy")
        page.get_by_role("link", name="New campaign").wait_for(state="detached")
        page.goto("/campaigns/DK-ENERGY")
        page.get_by_text("Call attempts").wait_for()
        assert page.get_by_role("button", name="Save").count() == 0


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/campaigns", "campaigns")
    look_at(site, "/campaigns/DK-ENERGY", "campaign")
    look_at(site, "/campaigns/-new", "campaign-new")
    look_at(site, "/campaigns/DK-ENERGY", "campaign-looking", login="lead-denmark")
