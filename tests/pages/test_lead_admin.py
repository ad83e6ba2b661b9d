"""Lead Admin in a real browser, as the quickstart walks through it."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from ingestd.leads import owner_changes
from tests.pages.browsing import Served, Site, check_access, look_at, picture
from tests.pages.forms import URLENCODED, Paper, paper

FIELDS = {"phone": "+4520304050", "first_name": "Signe", "last_name": "Krogh", "city": "Aarhus C"}


def typed(site: Served, phone: str, login: str = "admin", **more: str) -> int:
    """A lead that somebody typed in."""
    fields = {**FIELDS, "phone": phone, **{name: value for name, value in more.items() if name != "owner"}}
    body = {"campaign": "DK-ENERGY", "fields": fields, "owner": more.get("owner", "team:copenhagen")}
    made = site.client(login).do("POST", "leads", body)
    number: int = made["lead"]["id"]
    return number


@pytest.fixture(scope="module")
def leads(site: Site) -> list[int]:
    """A few of the team leader's own, all with a surname that nobody else has."""
    return [typed(site, f"+45203040{tail}", "lead-denmark", last_name="Quickstart") for tail in range(51, 57)]


def shown(page: Page) -> list[int]:
    """The numbers of the leads that are listed."""
    boxes = page.locator("table.leads tbody input[name=lead]")
    return [int(box.get_attribute("value") or "0") for box in boxes.all()]


def test_a_phone_is_looked_for_as_people_say_it(served: Served) -> None:
    answer = served.client("admin").ask("GET", "/leads/narrow?phone=20+30+40+50&campaign=DK-ENERGY")
    assert answer.status == 303
    assert quote("phone is +4520304050") in answer.headers["location"].replace("+", "%20").replace("%2520", "%20")


def test_a_lead_pool_is_asked_for_by_number_and_the_other_filters_stay(served: Served) -> None:
    admin = served.client("admin")
    answer = admin.ask("GET", "/leads/narrow?pool=abc&status=success")
    assert (answer.status, answer.headers["location"]) == (303, "/leads?filter=status+is+success")
    assert "abc%20is%20no%20number" in answer.headers["set-cookie"]
    assert admin.ask("GET", "/leads/narrow?pool=1+234").headers["location"] == "/leads?filter=pool+is+1234"


@pytest.mark.parametrize(
    ("tail", "named"), [(41, "aarhus"), (42, "Aarhus"), (43, "AARHUS-1"), (44, "DK-AAR"), (45, "team:aarhus")]
)
def test_a_new_owner_is_named_as_people_do(served: Served, tail: int, named: str) -> None:
    admin, number = served.client("admin"), typed(served, f"+45204040{tail}")
    dialog = paper(admin, f"/leads/act?do=owner&lead={number}").form("Give them to this owner")
    done = dialog.send(admin, to=named)
    assert (done.status, done.headers["location"][:21]) == (303, "/leads/owner-changes/")
    wanted = "user:aarhus-1" if named.endswith("-1") else "team:aarhus"
    assert served.client("admin").get(f"leads/{number}")["owner"] == wanted


def test_an_owner_that_there_is_none_of_leaves_the_dialog_as_it_was(served: Served) -> None:
    admin, number = served.client("admin"), typed(served, "+4520404151")
    dialog = paper(admin, f"/leads/act?do=owner&lead={number}&back=/leads").form("Give them to this owner")
    refused = dialog.send(admin, to="Atlantis", why="moved", retain="true")
    again = Paper(refused.body.decode())
    form = again.form("Give them to this owner")
    assert (refused.status, "Nothing was changed." in again.text) == (422, True)
    assert {("to", "Atlantis"), ("why", "moved"), ("retain", "true"), ("lead", str(number))} <= set(form.fields)
    assert form.send(admin, to="team:aarhus").status == 303


def test_try_again_leads_back_to_the_form(served: Served) -> None:
    headers = {"Content_Type": URLENCODED, "Referer": "http://127.0.0.1/leads?sort=id"}
    answer = served.client("admin").ask("POST", "/leads/act", b"do=lock", **headers)
    assert (answer.status, 'href="/leads?sort=id">Try again' in answer.body.decode()) == (422, True)


def test_step_3_view_leads_in_lead_admin(site: Site, leads: list[int]) -> None:
    """In Filters > Teams and Users, set "Uploaded By" to your user; add a Campaign filter; enable "Lead Pool Data" in
    View Columns; sort by Uploaded descending; save as a custom view."""
    with site.visit("lead-denmark") as page:
        page.goto("/")
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Lead Admin").click()
        expect(page.locator("h1")).to_have_text("Lead Admin")
        users = page.get_by_role("group", name="Teams and Users")
        users.get_by_label("Uploaded By").fill("user:lead-denmark")
        page.get_by_role("search", name="Filters").get_by_label("Campaign").select_option("DK-ENERGY")
        page.get_by_role("button", name="Filter", exact=True).click()
        expect(page.locator(".how-many")).to_have_text("exactly 6 leads")
        expect(page.get_by_role("list", name="The filter").get_by_role("listitem")).to_have_count(3)

        page.get_by_text("View Columns").click()
        page.get_by_label("Lead Pool Data").check()
        page.get_by_role("button", name="Show these columns").click()
        headers = page.locator("table.leads thead")
        expect(headers).to_contain_text("Lead pool name")
        expect(headers).to_contain_text("Uploaded by")
        page.get_by_role("link", name="Lead pool name").click()
        expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Lead pool name")

        page.get_by_role("link", name="Uploaded at").click()
        expect(page.locator("th[aria-sort=descending]")).to_contain_text("Uploaded at")
        assert sorted(shown(page)) == leads
        page.get_by_text("Save as view").click()
        page.get_by_label("Name of the view").fill("My uploads")
        page.get_by_role("button", name="Save view").click()
        expect(page.get_by_text("The view My uploads is saved.")).to_be_visible()
        expect(page.get_by_role("link", name="My uploads")).to_have_attribute("aria-current", "page")
        page.get_by_role("button", name="★ Star").click()
        page.goto("/leads")
        page.get_by_role("link", name="starred: My uploads").click()
        expect(page.locator(".how-many")).to_have_text("exactly 6 leads")
        check_access(page)
        page.get_by_role("link", name="Remove: Campaign is DK-ENERGY").click()
        expect(page.get_by_text("You have changed it since it was saved.")).to_be_visible()


def test_step_4_change_lead_ownership(site: Site, leads: list[int]) -> None:
    """Select one or multiple leads; click Change Owner; choose the new team or user."""
    site.client("copenhagen-1").do("POST", f"leads/{leads[0]}/lock")
    with site.visit("lead-denmark") as page:
        page.goto("/leads?filter=last_name+is+Quickstart")
        page.get_by_role("button", name="Change Owner").click()
        dialog = page.get_by_role("dialog", name="Change Owner")
        expect(dialog).to_contain_text("No lead is chosen")
        dialog.get_by_role("button", name="Close").click()
        page.get_by_label("All leads of this page").check()
        for number in leads[3:]:
            page.get_by_label(f"Choose lead {number}", exact=True).uncheck()
        page.get_by_role("button", name="Change Owner").click()
        expect(dialog).to_contain_text("3 chosen leads.")
        expect(dialog).to_contain_text("not leads of teams or users below them")
        check_access(page)
        picture(page, "change-owner-dialog")
        dialog.get_by_label("New owner").fill("user:aarhus-1")
        dialog.get_by_label("Why").fill("Moved to Aarhus")
        dialog.get_by_role("button", name="Give them to this owner").click()
        expect(page.locator("h1")).to_have_text("Change Owner to user:aarhus-1")
        expect(page.get_by_role("link", name="Moved 2")).to_be_visible()
        page.get_by_role("link", name="Locked 1").click()
        expect(page.locator("main")).to_contain_text("Somebody holds them.")
        expect(page.locator(".numbers")).to_have_text(str(leads[0]))
        page.get_by_role("link", name="Moved 2").click()
        page.get_by_role("link", name=str(leads[1]), exact=True).click()
        expect(page.locator("#owner-title + dl")).to_contain_text("user:aarhus-1")
        expect(page.locator("#owner-title + dl")).to_contain_text("team:copenhagen")
        expect(page.locator("table.history")).to_contain_text("Moved to Aarhus")
        change = site.client("lead-denmark").get("owner-changes")["items"][0]["id"]
    look_at(site, f"/leads/owner-changes/{change}", "owner-change", login="lead-denmark", ready=".numbers")


def test_step_5_understand_lead_statuses(site: Site) -> None:
    """Changing a lead to Private or VIP Redial makes the editing agent the new owner."""
    number = typed(site, "+4520304090")
    with site.visit("copenhagen-1") as page:
        page.goto(f"/leads/{number}")
        choices = page.get_by_label("Unprocessed may become")
        expect(choices).to_contain_text("Success")
        expect(choices).not_to_contain_text("Anonymised")
        private = next(text for text in choices.locator("option").all_inner_texts() if "rivate" in text)
        assert "you become the owner" in private
        choices.select_option(label=private)
        page.get_by_role("button", name="Change status").click()
        expect(page.get_by_role("status").first).to_contain_text("It belongs to user:copenhagen-1 now.")
        expect(page.locator("#owner-title + dl")).to_contain_text("user:copenhagen-1")
        check_access(page)
    with site.visit("admin") as page:
        page.goto(f"/leads/{number}?agent=copenhagen-2")
        expect(page.locator("#explained")).to_contain_text("user:copenhagen-1 owns it: another user")
        page.get_by_label("For the agent").fill("copenhagen-1")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator("#explained")).to_contain_text("user:copenhagen-1 owns it: the agent")
        page.goto("/leads")
        assert page.get_by_role("search", name="Filters").get_by_label("Status").locator("option").count() == 36 + 3


@pytest.mark.slow
def test_everybody_can_use_the_list(site: Site, leads: list[int]) -> None:
    assert leads
    look_at(site, "/leads", "leads", ready="table.leads")
    look_at(site, "/leads?filter=last_name+is+nobody", "leads-none", ready=".empty")
    look_at(site, "/leads?add=city", "leads-adding", ready="#field-op")
    look_at(site, "/leads?filter=city+is", "leads-problem", ready=".notice-warn")
    with site.visit() as page:
        page.goto("/leads")
        for name in ("View Columns", "As a sentence", "Save as view", "Export"):
            page.locator("summary", has_text=name).click()
            check_access(page)
            picture(page, f"leads-menu-{name.split()[0].lower()}")


@pytest.mark.slow
def test_everybody_can_use_the_forms(site: Site, leads: list[int]) -> None:
    ids = f"lead={leads[4]}&lead={leads[5]}"
    look_at(site, f"/leads/act?do=owner&{ids}", "change-owner")
    look_at(site, "/leads/act?do=deactivate&all=true&filter=last_name+is+Quickstart", "deactivate-all")


def test_a_field_is_added_to_the_filter_and_taken_away(site: Site, leads: list[int]) -> None:
    with site.visit() as page:
        page.goto("/leads?filter=last_name+is+Quickstart")
        page.get_by_label("Any field").select_option(label="First name")
        page.get_by_label("How").select_option("starts_with")
        page.get_by_label("Value").fill("sig")
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".how-many")).to_have_text(f"exactly {len(leads)} leads")
        page.locator("summary", has_text="As a sentence").click()
        sentence = page.get_by_label("The filter, as a sentence or JSON")
        expect(sentence).to_have_value("last_name is Quickstart and first_name starts with sig")
        sentence.fill('{"not": {"field": "last_name", "op": "is", "value": "Quickstart"}}')
        page.get_by_role("button", name="Filter by it").click()
        assert not set(shown(page)) & set(leads)
        page.get_by_role("link", name="Clear all").click()
        expect(page).to_have_url(re.compile("/leads$"))


def test_it_works_without_scripts(site: Site, leads: list[int]) -> None:
    with site.visit(java_script_enabled=False) as page:
        page.goto("/leads?filter=last_name+is+Quickstart")
        page.get_by_label(re.compile("^All that match")).check()
        page.get_by_role("button", name="Deactivate").click()
        expect(page.locator("main")).to_contain_text("exactly 6 leads, where last_name is Quickstart")
        page.get_by_role("link", name="Leave it").click()
        page.get_by_label(f"Choose lead {leads[5]}", exact=True).check()
        page.get_by_role("button", name="Lock", exact=True).click()
        page.get_by_role("button", name="Lock them").click()
        expect(page.locator("#done-title")).to_have_text("Done: 1 lead")
        page.get_by_role("link", name="← Lead Admin").click()
        page.get_by_label("Any field").select_option(label="City")
        page.get_by_role("button", name="Choose").click()
        expect(page.get_by_label("Value")).to_be_visible()


def test_all_that_match_go_out_of_use_and_come_back(site: Site) -> None:
    numbers = [typed(site, f"+45203041{tail}", last_name="Gone") for tail in (10, 11)]
    site.client("copenhagen-1").do("POST", f"leads/{numbers[0]}/lock")
    with site.visit() as page:
        page.goto("/leads?filter=last_name+is+Gone")
        page.get_by_label(re.compile("^All that match")).check()
        page.get_by_role("button", name="Deactivate").click()
        page.get_by_role("button", name="Deactivate them").click()
        expect(page.locator("#done-title")).to_have_text("Done: 1 lead")
        expect(page.locator("#refused-title")).to_have_text("Left as they were: 1 lead")
        expect(page.locator("main")).to_contain_text(f"lead {numbers[0]} is locked by user:copenhagen-1")
        check_access(page)
        picture(page, "leads-acted")


def test_a_large_change_goes_on_in_the_background(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [typed(site, f"+45203042{tail}", last_name="Many") for tail in (10, 11, 12)]
    monkeypatch.setattr("ingestd.web.api.owner_changes.AT_ONCE", 2)
    with site.visit() as page:
        page.goto("/leads?filter=last_name+is+Many")
        page.get_by_label(re.compile("^All that match")).check()
        page.get_by_role("button", name="Change Owner").click()
        page.get_by_label("New owner").fill("code:DK-AAR")
        page.get_by_role("button", name="Give them to this owner").click()
        expect(page.locator("h2").first).to_have_text("0 of 3 leads are decided about")
        owner_changes.work(site.house.engine, site.api.desk.clock, lambda: True)
        expect(page.locator("h2").first).to_have_text("What became of every lead")
        expect(page.get_by_role("link", name="Moved 3")).to_be_visible()
        assert site.client("admin").get(f"leads/{numbers[0]}")["owner"] == "team:aarhus"


@pytest.mark.parametrize(("kind", "begins"), [("csv", b"\xef\xbb\xbf"), ("xlsx", b"PK"), ("parquet", b"PAR1")])
def test_leads_are_taken_along(site: Site, leads: list[int], kind: str, begins: bytes) -> None:
    assert leads
    with site.visit() as page:
        page.goto("/leads?filter=last_name+is+Quickstart&columns=id,last_name")
        page.locator("summary", has_text="Export").click()
        page.get_by_label("As", exact=True).select_option(kind)
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        content = download.value.path().read_bytes()
        assert download.value.suggested_filename == f"leads.{kind}"
        assert content.startswith(begins)
        if kind == "csv":
            assert content.count(b"Quickstart") == len(leads)


def test_views_are_shared_and_copied(site: Site) -> None:
    body = {"name": "Everybody's", "filter": {"all": []}, "shared": "everybody", "columns": ["id", "city"]}
    number = site.client("admin").do("POST", "views", body)["id"]
    with site.visit("lead-denmark") as page:
        page.goto(f"/leads?view={number}")
        expect(page.get_by_text("A view of admin, shared with everybody.")).to_be_visible()
        check_access(page)
        picture(page, "leads-view")
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("link", name="Everybody's (copy)")).to_have_attribute("aria-current", "page")
        page.get_by_role("link", name="City").click()
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Remove it").click()
        expect(page.get_by_text("The view Everybody's (copy) is removed.")).to_be_visible()
        expect(page.get_by_role("link", name="Everybody's (copy)")).to_have_count(0)


def test_pages_go_both_ways(site: Site, monkeypatch: pytest.MonkeyPatch, leads: list[int]) -> None:
    monkeypatch.setattr("ingestd.web.pages.lead_admin.PAGE", 2)
    with site.visit() as page:
        page.goto("/leads?filter=last_name+is+Quickstart")
        first = shown(page)
        page.get_by_role("link", name="Next page →").click()
        assert not set(shown(page)) & set(first)
        page.get_by_role("link", name="← Previous page").click()
        assert shown(page) == first
        assert set(first) <= set(leads)


def test_an_order_that_is_not_offered_is_explained(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.leads.scope.FEW", 5)
    with site.visit() as page:
        page.goto("/leads?sort=city")
        expect(page.get_by_role("alert")).to_contain_text("cannot be sorted by City")
        page.get_by_role("alert").get_by_role("link", name="Uploaded at").click()
        expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Uploaded at")


def test_a_search_that_ends_early_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.leads.scope.FEW", 5)
    monkeypatch.setattr("ingestd.leads.listing.PATIENCE", -1)
    monkeypatch.setattr("ingestd.web.pages.lead_admin.PATIENCE", -1.0)
    body = site.client("admin").ask("GET", "/leads?filter=" + quote("comments contains nothing-like-it")).body.decode()
    assert "Searched" in body
    assert "Go on searching" in body or "narrow the filter" in body


@pytest.mark.parametrize("query", ["columns=nothing", "sort=nothing", "filter=%7B", "filter=pool+is+x", "view=0"])
def test_an_address_that_cannot_be_is_explained(site: Site, query: str) -> None:
    answer = site.client("admin").ask("GET", f"/leads?{query}")
    assert answer.status in (200, 422)
    assert b"cannot be" in answer.body


def test_what_is_asked_for_most_has_short_addresses(site: Site) -> None:
    """As other pages link to it: the leads of a pool, of a campaign, of an owner."""
    with site.visit() as page:
        page.goto("/leads?pool=1&status=open")
        assert page.url.endswith("/leads?filter=pool+is+1+and+status+is+open")
        page.goto("/leads?owner=team%3Acopenhagen")
        expect(page.locator("#field-owner")).to_have_value("team:copenhagen")


def test_nothing_is_done_to_no_lead(site: Site) -> None:
    form = "application/x-www-form-urlencoded"
    for path, body, told in (
        ("/leads/act", b"do=lock", b"no lead was chosen"),
        ("/leads/owner", b"to=team:aarhus", b"No lead is chosen"),
    ):
        answer = site.client("admin").ask("POST", path, body, Content_Type=form)
        assert answer.status == 422
        assert told in answer.body


def test_partners_text_is_text(site: Site) -> None:
    number = typed(site, "+4520304188", last_name="<img src=x onerror=alert(1)>")
    with site.visit() as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.goto("/leads?filter=" + quote('last_name contains "onerror"'))
        expect(page.locator("table.leads tbody")).to_contain_text("<img src=x onerror=alert(1)>")
        page.goto(f"/leads/{number}")
        expect(page.locator("h1")).to_contain_text("<img src=x onerror=alert(1)>")


def test_what_another_may_not_see_is_not_listed(site: Site, leads: list[int]) -> None:
    assert leads
    body = site.client("lead-germany").ask("GET", "/leads?filter=last_name+is+Quickstart").body.decode()
    assert "No lead matches" in body
    assert site.client("lead-germany").ask("GET", f"/leads/{leads[0]}").status == 404
