"""The list of deliveries, as an operator uses it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from ingestd import samples
from tests.pages.browsing import Served, Site, deliver, look_at


def rows(page: Page) -> list[str]:
    """The names of the files that are listed."""
    return [text.strip() for text in page.locator("table.deliveries tbody th a[id^=open-]").all_inner_texts()]


def names(site: Site, query: str) -> list[str]:
    """The same without a browser."""
    body = site.client("admin").ask("GET", f"/deliveries?{query}").body.decode()
    return re.findall(r'id="open-\d+">([^<]+)<', body)


@pytest.mark.slow
def test_everybody_can_use_the_list(site: Site) -> None:
    look_at(site, "/deliveries?view=all", "deliveries", ready="#list")
    look_at(site, "/deliveries?view=all&q=nothing+like+it", "deliveries-none", ready=".empty")


def test_an_operator_sees_first_what_needs_attention(site: Site) -> None:
    with site.visit("lead-denmark") as page:
        page.goto("/")
        expect(page).to_have_url(re.compile("/deliveries$"))
        expect(page.get_by_role("link", name="Needs attention")).to_have_attribute("aria-current", "page")
        assert {"no-phones.csv", "logo.csv", "nordlead-corrections.csv"} <= set(rows(page))
        page.get_by_role("link", name=re.compile("^In progress")).click()
        assert "waiting.csv" in rows(page)
        page.get_by_role("link", name=re.compile("^All")).click()
        assert "nordlead-2026-11.csv" in rows(page)
        page.go_back()
        assert "waiting.csv" in rows(page)


def test_the_list_narrows_as_one_types(site: Site) -> None:
    with site.visit() as page:
        page.goto("/deliveries?view=all")
        page.get_by_label("Search").press_sequentially("kundenliste")
        expect(page.locator("table.deliveries tbody tr")).to_have_count(1)
        assert page.url.endswith("/deliveries?view=all&q=kundenliste")
        page.get_by_label("Search").fill("")
        page.get_by_label("Source").select_option("fibreweb")
        expect(page.locator("table.deliveries tbody tr")).to_have_count(2)
        page.reload()
        assert sorted(rows(page)) == ["fibre_DK-AAR_2026-11.xlsx", "no-phones.csv"]


def test_the_filters_work_without_scripts(site: Site) -> None:
    with site.visit(java_script_enabled=False) as page:
        page.goto("/deliveries?view=all")
        page.get_by_label("Source").select_option("stadtwerk")
        page.get_by_role("button", name="Filter").click()
        assert sorted(rows(page)) == ["Kundenliste_November.csv", "logo.csv"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=LOGO", ["logo.csv"]),
        ("q=stadtw", ["logo.csv", "Kundenliste_November.csv"]),
        ("q=100%25", []),
        ("view=all&state=duplicate", ["nordlead-2026-11.csv"]),
        ("view=all&source=nobody", []),
        ("view=attention&source=fibreweb", ["no-phones.csv"]),
        ("period=day&source=fibreweb&view=all", ["no-phones.csv", "fibre_DK-AAR_2026-11.xlsx"]),
    ],
)
def test_what_is_asked_for_is_found(site: Site, query: str, found: list[str]) -> None:
    assert names(site, query) == found


def test_a_file_is_found_by_its_hash_and_its_number(site: Site, numbers: dict[str, int]) -> None:
    logo = site.house.ledger.get(numbers["logo.csv"])
    assert logo is not None
    assert names(site, f"q={logo.sha256[:12].upper()}") == ["logo.csv"]
    assert "logo.csv" in names(site, f"q={logo.id}")


def test_a_number_is_looked_for_as_the_list_writes_it(served: Served, numbers: dict[str, int]) -> None:
    page = served.client("admin").ask("GET", f"/deliveries?q=%23{numbers['logo.csv']}").body.decode()
    assert f'href="/deliveries/{numbers["logo.csv"]}"' in page


@pytest.mark.parametrize("query", ["view=none", "state=lost", "cursor=xyz", "source=" + "x" * 80])
def test_an_address_that_cannot_be_is_explained(site: Site, query: str) -> None:
    answer = site.client("admin").ask("GET", f"/deliveries?{query}")
    assert answer.status == 422
    assert b"cannot be used" in answer.body


def test_why_was_this_lead_rejected(site: Site) -> None:
    """By phone number: file, line, rule and value."""
    with site.visit() as page:
        page.goto("/deliveries")
        page.get_by_label("Search").fill("+45 28 99 99 99")
        found = page.locator("#phones table tbody tr")
        expect(found).to_have_count(1)
        for told in ("nordlead-corrections.csv", "do_not_call", "+4528999999", "Rejected", "These are all there are."):
            expect(page.locator("#phones")).to_contain_text(told)
    look_at(site, "/deliveries?q=%2B45+28999999", "deliveries-phone", ready="#phones table")


def test_a_number_that_could_not_be_read_is_found_as_it_was_written(site: Site) -> None:
    body = site.client("admin").ask("GET", "/deliveries/phones?q=9012+3456").body.decode()
    assert "+45 1234 5678 9012 3456" in body
    assert "phone_too_long" in body
    assert b"at least six digits" in site.client("admin").ask("GET", "/deliveries/phones?q=123").body


def test_a_delivery_appears_by_itself_and_is_cancelled_and_queued_again(site: Site) -> None:
    with site.visit() as page:
        page.goto("/deliveries?view=all")
        expect(page.locator("#list")).to_be_visible()
        page.wait_for_timeout(1500)  # the bell has looked once
        number = deliver(site.house, "late.csv", samples.clean(5, start=120_000), "nordlead", load=False)
        page.locator(f"#open-{number}").wait_for()
        page.locator(f"#cancel-{number}").click()
        page.get_by_text(f"Delivery {number} is cancelled.").wait_for()
        page.locator(f"#retry-{number}").click()
        page.get_by_text(f"Delivery {number} is queued again.").wait_for()
        expect(page.locator(f"tr:has(#open-{number})")).to_contain_text("Queued")


def test_text_of_partners_is_text(site: Site) -> None:
    number = deliver(site.house, "<script>alert(1)<_script>.csv", b"Phone\n<img src=x onerror=alert(1)>\n", "nordlead")
    with site.visit() as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto(f"/deliveries/{number}")
        expect(page.locator("h1")).to_have_text("<script>alert(1)<_script>.csv")
        page.locator("#group-1").click()
        expect(page.locator("#rows-1 pre")).to_have_text("<img src=x onerror=alert(1)>")
        page.goto("/deliveries?q=%3Cscript%3E&view=all")
        assert "<script>alert(1)<_script>.csv" in rows(page)


def test_a_feed_that_stays_silent_stands_on_top(site: Site) -> None:
    admin = site.client("admin")
    admin.do("PATCH", "sources/fibreweb", {"definition": {"expected_every_hours": 0.000001}})
    try:
        with site.visit() as page:
            page.goto("/deliveries")
            expect(page.locator(".notice")).to_contain_text("fibreweb is silent.")
            page.get_by_role("link", name="what came before").click()
            assert "no-phones.csv" in rows(page)
        look_at(site, "/deliveries", "deliveries-silent", ready="#list")
    finally:
        admin.do("PATCH", "sources/fibreweb", {"definition": {"expected_every_hours": None}})


def test_pages_go_by_cursor(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.web.pages.deliveries.PAGE", 4)
    with site.visit() as page:
        page.goto("/deliveries?view=all")
        first = rows(page)
        page.get_by_role("link", name="Next page →").click()
        second = rows(page)
        assert len(first) == len(second) == 4
        assert page.locator("a[id^=open-]").first.get_attribute("id") not in first
        page.get_by_role("link", name="← First page").click()
        assert rows(page) == first
