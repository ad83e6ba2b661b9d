"""The page of one delivery: everything there is to know about it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from ingestd.ingest.poollog import PoolLog
from tests.pages.browsing import Site, check_access, deliver, look_at, picture


@pytest.fixture
def dirty(numbers: dict[str, int]) -> int:
    """The file with every kind of reject."""
    return numbers["nordlead-corrections.csv"]


@pytest.mark.slow
def test_everybody_can_use_the_page(site: Site, dirty: int) -> None:
    look_at(site, f"/deliveries/{dirty}", "delivery", ready="#columns table")


@pytest.mark.parametrize("name", ["logo.csv", "again", "waiting.csv", "fibre_DK-AAR_2026-11.xlsx"])
@pytest.mark.slow
def test_everybody_can_use_the_page_of_any_delivery(site: Site, numbers: dict[str, int], name: str) -> None:
    look_at(site, f"/deliveries/{numbers[name]}", f"delivery-{name.partition('.')[0]}", ready="#delivery")


def test_the_totals_add_up(site: Site, dirty: int) -> None:
    delivery = site.house.ledger.get(dirty)
    assert delivery is not None
    with site.visit() as page:
        page.goto(f"/deliveries/{dirty}")
        figures = [int(text.strip("= ")) for text in page.locator(".totals .figure").all_inner_texts()]
        *parts, total = figures
        assert sum(parts) == total == delivery.counts.records
        label = page.locator(".totals-bar").get_attribute("aria-label")
        assert label is not None
        assert f"{delivery.counts.rejected} rejected" in label


def test_every_group_of_problems_has_its_records_with_the_line_as_it_came(site: Site, dirty: int) -> None:
    delivery = site.house.ledger.get(dirty)
    assert delivery is not None
    problems = PoolLog(storage=site.house.logs, key=delivery.log_key).problems()
    with site.visit() as page:
        page.goto(f"/deliveries/{dirty}")
        page.locator("#columns table").wait_for()
        assert page.locator("[id^=group-]").count() == problems.select("code", "column").unique().height
        page.get_by_role("link", name="ownership_code_unknown").click()
        rows = page.locator("td[id^=rows-] table tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text("DK-CHP")
        expect(rows.first.locator("pre")).to_contain_text(",DK-CHP,")
        check_access(page)
        picture(page, "delivery-rows")


def test_the_records_of_a_group_have_an_address_of_their_own(site: Site, dirty: int) -> None:
    with site.visit(java_script_enabled=False) as page:
        page.goto(f"/deliveries/{dirty}")
        page.get_by_role("link", name="postcode_invalid").click()
        expect(page.locator("pre.line")).to_contain_text(",21000,")
        page.go_back()
        page.get_by_role("link", name="See the columns").click()
        expect(page.get_by_role("row", name="Campaign tag")).to_contain_text("ignored")
        page.go_back()
        page.get_by_role("link", name="See the lead pool").click()
        expect(page.locator("#pool")).to_contain_text("Energy contracts")


def test_many_records_of_a_group_go_by_pages(site: Site) -> None:
    lines = "".join(f"none,x{number}\n" for number in range(45))
    number = deliver(site.house, "many.csv", f"Phone,City\n+4526000011,y\n{lines}".encode(), "nordlead")
    with site.visit() as page:
        page.goto(f"/deliveries/{number}")
        page.locator("#group-1").click()
        expect(page.locator("#rows-1 tbody tr")).to_have_count(20)
        page.get_by_role("link", name="Next records →").click()
        expect(page.locator("#rows-1 tbody tr").first).to_contain_text("none,x20")
        page.get_by_role("link", name="Next records →").click()
        expect(page.locator("#rows-1 tbody tr")).to_have_count(5)
        page.get_by_role("link", name="← First records").click()
        expect(page.locator("#rows-1 tbody tr").first).to_contain_text("none,x0")


def test_a_column_says_what_it_is_mapped_to_and_how_full_it_is(site: Site, dirty: int) -> None:
    with site.visit() as page:
        page.goto(f"/deliveries/{dirty}")
        row = page.locator("#columns tr", has_text="Owner code")
        for told in ("ownership_code", "100 %", "2"):
            expect(row).to_contain_text(told)


def test_owners_campaign_hash_evidence_and_times_are_told(site: Site, dirty: int) -> None:
    delivery = site.house.ledger.get(dirty)
    assert delivery is not None
    with site.visit() as page:
        page.goto(f"/deliveries/{dirty}")
        expect(page.locator("#pool")).to_contain_text("DK-CPH-EVE")
        told = page.locator("main").inner_text()
        for fact in (delivery.sha256, "tcp fin", "192.0.2.7", "utf-8", "DK-ENERGY", "validate", "wait in the queue"):
            assert fact in told
        utc = page.locator("time").first.get_attribute("title")
        assert utc is not None
        assert utc.endswith("UTC")


def test_what_there_is_can_be_taken_along(site: Site, dirty: int) -> None:
    with site.visit() as page:
        page.goto(f"/deliveries/{dirty}")
        for title in ("Full Log", "Errors", "Rejected", "Original", "Summary"):
            with page.expect_download() as started:
                page.get_by_role("link", name=title, exact=True).click()
            assert started.value.path().stat().st_size > 0


def test_our_own_errors_are_for_who_manages_the_sources(site: Site, numbers: dict[str, int]) -> None:
    body = site.client("lead-denmark").ask("GET", f"/deliveries/{numbers['logo.csv']}").body.decode()
    assert "this is a PNG picture" in body


def test_cancel_asks_before_it_acts(site: Site) -> None:
    number = deliver(site.house, "unwanted.csv", b"Phone\n+4526000099\n", "nordlead", load=False)
    with site.visit() as page:
        page.goto(f"/deliveries/{number}")
        page.get_by_role("button", name="Cancel", exact=True).click()
        check_access(page)
        page.get_by_role("button", name="Leave it").click()
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel it").click()
        page.get_by_text("Its file is kept.").wait_for()
        page.get_by_role("button", name="Retry").click()
        page.get_by_text("is queued again").wait_for()


def test_what_cannot_be_retried_says_why(site: Site, numbers: dict[str, int]) -> None:
    form = "application/x-www-form-urlencoded"
    answer = site.client("admin").ask("POST", f"/deliveries/{numbers['waiting.csv']}/retry", b"", Content_Type=form)
    assert answer.status == 409
    assert b"nothing to retry" in answer.body


def test_what_is_not_there_is_not_found(site: Site) -> None:
    for path in (
        "/deliveries/99999",
        "/deliveries/99999/rows?code=x",
        "/deliveries/99999/columns",
        "/deliveries/99999/pool",
    ):
        assert site.client("admin").ask("GET", path).status == 404
