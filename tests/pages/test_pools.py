"""Lead Pools in a browser: looked at, filtered, measured, and worked with, many at once."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from ingestd import samples
from ingestd.store import pool_calls
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from tests.leads.conftest import Desk
from tests.pages.browsing import THEMES, Served, Site, check_access, deliver, look_at, picture
from tests.web.serving import Client


@pytest.fixture(scope="module")
def mine(served: Served) -> list[str]:
    """Pools of these tests alone, by their names."""
    names = ["mine-1.csv", "mine-2.csv", "mine-3.csv"]
    for place, name in enumerate(names):
        deliver(served.house, name, samples.clean(20, start=300_000 + 100 * place), "nordlead")
    return names


FORM = "application/x-www-form-urlencoded"


def post(client: Client, path: str, **fields: str | list[str]) -> str:
    """Sends a form; the address that it leads to."""
    body = urlencode(fields, doseq=True).encode()
    answer = client.ask("POST", path, body, Content_Type=FORM)
    assert answer.status == 303, answer.body
    return answer.headers["location"]


def asked(client: Client, path: str) -> str:
    """A page."""
    answer = client.ask("GET", path)
    assert answer.status == 200, answer.body
    return answer.body.decode()


def opened(client: Client, path: str) -> str:
    """Where a view leads."""
    answer = client.ask("GET", path)
    assert answer.status == 303
    return answer.headers["location"]


def headers_of(page: str) -> list[str]:
    found = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page)
    return [re.sub(r"<[^>]*>", "", each) for each in found][1:-1]


def looked(page: str) -> str:
    """What the form that saves a view sends of what is looked at."""
    return html.unescape(re.findall(r'name="looked" value="([^"]*)"', page)[-1])


def test_a_view_is_saved_opened_changed_and_removed(served: Served) -> None:
    leader = served.client("lead-denmark")
    page = asked(leader, "/pools?state=Active&column=name&column=state&kpi=success_rate&kpi=count:busy&sort=name")
    assert headers_of(page) == ["Name▲", "State", "Success rate", "Busy"]
    assert "Save as view" in page
    made = post(leader, "/pools/views", name="Active ones", looked=looked(page), shared="nobody")
    assert re.fullmatch(r"/pools\?view=\d+", made)
    here = opened(leader, made)
    page = asked(leader, here)
    assert headers_of(page) == ["Name▲", "State", "Success rate", "Busy"]
    assert ("Your view" in page, "You have changed it" in page) == (True, False)
    assert "★ Star" in page
    number = made.partition("=")[2]
    post(leader, f"/views/{number}/star", on="true", next=made)
    assert "starred: </span>Active ones" in asked(leader, "/pools")
    page = asked(leader, here.replace("state=Active", "state=Inactive"))
    assert "You have changed it" in page
    told = {"name": "Active ones", "looked": looked(page), "shared": "everybody", "version": "1"}
    assert post(leader, f"/pools/views/{number}", **told) == made
    assert leader.ask("POST", f"/pools/views/{number}", urlencode(told).encode(), Content_Type=FORM).status == 412
    assert "state=Inactive" in opened(leader, made)
    admin = served.client("admin")
    page = asked(admin, opened(admin, made))
    assert ("A view of lead-denmark, shared with everybody" in page, "Remove it" in page) == (True, False)
    copied = post(admin, f"/views/{number}/copy")
    assert "Your view" in asked(admin, opened(admin, copied))
    for client, view in ((leader, number), (admin, copied.partition("=")[2])):
        assert post(client, f"/views/{view}/remove") == "/pools"
    assert "Active ones" not in asked(leader, "/pools") + asked(admin, "/pools")
    answer = leader.ask("POST", "/pools/views", b"name=x&looked=/pools?sort=total", Content_Type=FORM)
    assert answer.status == 422


def test_the_figures_of_a_view_are_not_those_of_the_browser(served: Served) -> None:
    admin = served.client("admin")
    made = post(admin, "/pools/views", name="Rates", looked="/pools?kpi=success_rate")
    for path, kept in ((opened(admin, made), False), ("/pools?state=Active", True)):
        answer = admin.ask("POST", "/pools/kpis", urlencode({"kpi": "age", "next": path}).encode(), Content_Type=FORM)
        assert ("ingestd_pool_kpis" in answer.headers.get("set-cookie", "")) == kept
        page = asked(admin, answer.headers["location"])
        assert "Age" in headers_of(page)
        assert ("You have changed it" in page) != kept
    none = post(admin, "/pools/views", name="None", looked="/pools?kpi=none")
    assert opened(admin, none).endswith("&kpi=none")
    kept = asked(admin, opened(admin, none)).partition('<div id="pools">')[0]
    assert 'name="kpi" value="none"' in kept, "who filters in a view without figures gets none of the browser's"
    for view in (made, none):
        post(admin, f"/views/{view.partition('=')[2]}/remove")


def test_a_pool_shows_how_it_was_used(served: Served) -> None:
    desk = Desk(engine=served.house.engine)
    lead, _ = desk.leads({}, {})
    pool = desk.lead(lead).pool_id
    desk.set("pools", "id", pool, name="called in three days")
    for days, count in ((20, 7), (3, 2), (0, 4)):
        with writing(desk.engine) as connection:
            for _ in range(count):
                pool_calls.add(connection, [pool], now() - timedelta(days=days))
    page = asked(served.client("admin"), "/pools?name=called+in+three")
    day = f"{now():%Y-%m-%d}"
    assert f"6 calls in 14 days, 4 at most, on {day}; 4 today" in page
    assert page.count("h4V19.5Z") == 2
    assert "no calls in the last 14 days" in asked(served.client("admin"), "/pools?name=nordlead-2026-11.csv")


def state_of(page: Page, name: str) -> str:
    return page.get_by_role("row").filter(has_text=name).locator(".chip").inner_text()


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/pools?kpi=success_rate&kpi=count:unprocessed&kpi=first:unprocessed", "pools")
    look_at(site, "/pools/1?kpi=accept_rate&kpi=first:unprocessed", "pool", ready=".owners table")


def test_a_view_is_saved_and_said_to_be_changed_while_one_filters(site: Site) -> None:
    with writing(site.house.engine) as connection:
        for number in (1, 2, 4):
            for before in range(0, 14, number):
                for _ in range(1 + before * number % 11):
                    pool_calls.add(connection, [number], now() - timedelta(days=before))
    for theme in THEMES:
        with site.visit("lead-denmark", theme=theme) as page:
            page.goto("/pools?kpi=success_rate")
            for menu in ("View Columns", "Save as view"):
                page.get_by_text(menu, exact=True).click()
                check_access(page)
                picture(page, f"pools-{menu.lower().replace(' ', '-')}-{theme}")
            page.get_by_label("Name of the view").fill(f"In the {theme}")
            page.get_by_role("button", name="Save view").click()
            page.get_by_text("Your view.").wait_for()
            expect(page.get_by_text("You have changed it")).to_have_count(0)
            page.get_by_role("combobox", name="State").select_option("Active")
            page.get_by_text("You have changed it").wait_for()
            check_access(page)
            picture(page, f"pools-view-{theme}")
            page.get_by_role("button", name="Save changes").click()
            page.get_by_text("is saved as it is now").wait_for()
            expect(page.get_by_role("combobox", name="State")).to_have_value("Active")
            page.get_by_role("button", name="Remove", exact=True).click()
            page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
            page.get_by_text("Its pools are as they were.").wait_for()


def test_kpis_are_added_stand_in_the_address_and_are_remembered(site: Site) -> None:
    with site.visit("lead-denmark") as page:
        page.goto("/pools?name=nordlead")
        page.get_by_text("Add KPI").click()
        page.get_by_label("Search for a KPI").fill("unproc")
        picture(page, "pools-add-kpi")
        check_access(page)
        page.get_by_label("Unprocessed", exact=True).check()
        page.get_by_label("Unprocessed [1]").check()
        page.get_by_label("Search for a KPI").fill("accept")
        page.get_by_label("Accept rate").check()
        page.get_by_role("button", name="Show these KPIs").click()
        expect(page).to_have_url(re.compile("name=nordlead.*kpi=accept_rate"))
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="nordlead-2026-11.csv", exact=True))
        expect(row).to_contain_text("100.0 %")
        expect(row.locator("td.num").last).to_have_text("2,000")  # counted from the leads, after the page
        page.goto("/pools")
        page.get_by_role("columnheader", name="Accept rate").wait_for()
        page.get_by_role("button", name="Remove the KPI Accept rate").click()
        expect(page.get_by_role("columnheader", name="Accept rate")).to_have_count(0)
        page.get_by_role("button", name="Remove the KPI Unprocessed", exact=True).click()
        page.get_by_role("button", name="Remove the KPI Unprocessed [1]").click()
        expect(page).to_have_url(re.compile("kpi=none"))
        page.goto("/pools")
        expect(page.get_by_role("button", name="Remove the KPI")).to_have_count(0)


def test_the_list_is_filtered_and_sorted_and_the_address_says_how(site: Site, mine: list[str]) -> None:
    with site.visit("admin") as page:
        page.goto("/pools")
        page.get_by_label("Name", exact=True).fill("MINE-")
        expect(page.locator("tbody tr")).to_have_count(3)
        expect(page).to_have_url(re.compile("name=MINE-"))
        page.get_by_role("link", name="Name", exact=True).click()
        expect(page.locator("tbody th")).to_have_text(mine)
        page.get_by_role("combobox", name="State").select_option("Inactive")
        page.get_by_text("No pool is like that").wait_for()
        page.go_back()
        expect(page.locator("tbody tr")).to_have_count(3)
        page.goto("/pools?since=2026-13-01")
        page.get_by_text("'2026-13-01' is no day").first.wait_for()


def test_many_are_deactivated_and_each_is_told_of(site: Site, mine: list[str]) -> None:
    with site.visit("admin") as page:
        page.goto("/pools?name=mine-&sort=name")
        page.get_by_label("Choose mine-1.csv").check()
        page.get_by_label("Choose mine-2.csv").check()
        page.get_by_text("2 chosen:").wait_for()
        page.get_by_role("button", name="Deactivate", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Deactivate 2 pools?").wait_for()
        check_access(page)
        picture(page, "pools-asking")
        dialog.get_by_role("button", name="Leave it").click()
        expect(dialog).to_have_count(0)
        page.get_by_role("button", name="Deactivate", exact=True).click()
        dialog.get_by_label("Why").fill("prices")
        dialog.get_by_role("button", name="Deactivate").click()
        page.get_by_text("Done with 2 of 2 pools.").wait_for()
        picture(page, "pools-acted")
        check_access(page)
        page.get_by_role("link", name="Back").click()
        assert [state_of(page, name) for name in mine] == ["Inactive", "Inactive", "Active"]
        page.get_by_label("Choose all pools of this page").check()
        page.get_by_role("button", name="Activate", exact=True).click()
        dialog.get_by_role("button", name="Activate").click()
        page.get_by_text("Done with 2 of 3 pools.").wait_for()
        page.get_by_text("only a pool that is Inactive becomes Active").wait_for()


def test_without_scripts_one_is_asked_on_a_page(site: Site, mine: list[str]) -> None:
    with site.visit("admin", java_script_enabled=False) as page:
        page.goto(f"/pools?name={mine[2]}")
        page.get_by_role("button", name="Shuffle").click()
        page.get_by_text("Choose at least one pool").wait_for()
        page.get_by_role("link", name="Back to the list").click()
        page.get_by_label(f"Choose {mine[2]}").check()
        page.get_by_role("button", name="Delete unprocessed").click()
        page.get_by_text("This cannot be taken back.").wait_for()
        page.get_by_role("button", name="Delete them").click()
        page.get_by_text("mine-3.csv: 20 unprocessed leads were deleted.").wait_for()
        page.get_by_text("Add KPI").click()
        page.get_by_label("Success rate").check()
        page.get_by_role("button", name="Show these KPIs").click()
        page.get_by_role("columnheader", name="Success rate").wait_for()


def test_the_page_of_a_pool_says_whose_it_is_and_who_can_call(site: Site, mine: list[str]) -> None:
    with site.visit("admin") as page:
        page.goto("/pools?name=nordlead-2026-11.csv")
        page.get_by_role("link", name="Details of nordlead-2026-11.csv").click()
        page.get_by_role("link", name="Shuffle").click()
        page.get_by_role("dialog").get_by_role("button", name="Shuffle").click()
        page.get_by_text("2,000 leads are in a random order now").wait_for()
        owners = page.locator(".owners")
        expect(owners.get_by_role("row").nth(1)).to_contain_text("agent")
        expect(page.locator(".totals .sum")).to_have_text("= 2,000 leads")
        page.goto("/pools/7777")
        page.get_by_text("there is no pool 7777").wait_for()


@pytest.mark.parametrize(
    "query",
    ["name=%00", "state=%00&campaign=x", "cursor=x", "cursor=WyJhIiwxXQ", "sort=name&cursor=WzEsMV0", "sort=total",
     "until=9999-12-31", "column=city", "view=0"],
)  # fmt: skip
def test_what_no_list_has_is_refused(served: Served, query: str) -> None:
    assert served.client("admin").ask("GET", f"/pools?{query}").status == 422


def test_a_page_follows_the_page_before_in_any_order(served: Served, mine: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestd.web.pages.pools.SHOWN", 2)
        for sort in ("name", "-uploaded", "-state"):
            client, seen, path = served.client("admin"), list[str](), f"/pools?name=mine-&sort={sort}"
            while path:
                body = client.ask("GET", path).body.decode()
                seen += re.findall(r'aria-label="Details of ([^"]+)"', body)
                found = re.search(r'href="([^"]+)" rel="next"', body)
                path = found[1].replace("&amp;", "&") if found else ""
            assert sorted(seen) == mine


def test_an_import_is_undone_while_nobody_has_called(site: Site) -> None:
    deliver(site.house, "mistake.csv", samples.clean(20, start=400_000), "nordlead")
    with site.visit("admin") as page:
        page.goto("/pools?name=mistake.csv")
        page.get_by_role("link", name="Details").click()
        page.get_by_role("link", name="Undo import").click()
        page.get_by_role("dialog").get_by_role("button", name="Undo the import").click()
        page.get_by_text("it was undone: 20 leads were taken back").wait_for()
        expect(page.locator(".head .chip")).to_have_text("Undone")
        expect(page.get_by_role("link", name="Shuffle")).to_have_count(0)
