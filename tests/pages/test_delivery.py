"""The page of one delivery: everything there is to know about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from ingestd.ingest.poollog import PoolLog
from ingestd.model import Delivery, State
from ingestd.organisation import mappings, sources
from ingestd.store import tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from ingestd.worker import road_of
from tests.databases import ROOT
from tests.pages.browsing import Served, Site, check_access, deliver, look_at, picture
from tests.pages.forms import Paper, paper
from tests.web.serving import Answer


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


WHERE = b"Phone,First name,Where\n+4526%06d,Anna,Odense\n+4526%06d,Bo,Ribe\n"


def define(served: Served, name: str, *saved: dict[str, str], **values: Any) -> None:
    """A source of the test's own, with versions of its mapping."""
    deed, folder = Deed(actor=COMMAND_LINE, at=now(), why="told by phone"), ROOT / "schemas"
    facts = {"title": name, "campaign": "DK-ENERGY", "default_owner": "team:denmark", **values}
    with writing(served.house.engine) as connection:
        sources.create(connection, deed, name, facts, folder=folder)
        for mapping in saved:
            mappings.save(connection, deed, name, mapping, folder=folder)


def told(served: Served, number: int) -> Delivery:
    found = served.house.ledger.get(number)
    assert found is not None
    return found


def travelled(served: Served, answer: Answer) -> Delivery:
    """The new delivery that a form led to, loaded."""
    assert answer.status == 303, answer.body
    number = int(answer.headers["location"].removeprefix("/deliveries/"))
    road_of(served.house).travel(number)
    served.house.dispatcher.done(number)
    return told(served, number)


def leads(served: Served, delivery: Delivery) -> list[Any]:
    table = tables.leads.c
    with reading(served.house.engine) as connection:
        return list(connection.execute(select(table.city).where(table.pool_id == delivery.pool_id)).scalars())


def call(served: Served, delivery: Delivery, times: int) -> None:
    """Has one lead of a delivery called so often."""
    table = tables.leads
    one = select(table.c.id).where(table.c.pool_id == delivery.pool_id).limit(1).scalar_subquery()
    with writing(served.house.engine) as connection:
        connection.execute(update(table).where(table.c.id == one).values(attempts=times))


def test_a_delivery_is_run_again_by_the_fields_that_are_chosen(served: Served) -> None:
    define(served, "rerunning", {"Where": "comments"}, {"Where": ""})
    number = deliver(served.house, "where.csv", WHERE % (810001, 810002), "rerunning")
    admin, at = served.client("admin"), f"/deliveries/{number}/rerun"
    assert at in admin.ask("GET", f"/deliveries/{number}").body.decode()
    page = paper(admin, at)
    assert "The 2 leads of its pool are taken back" in page.text
    fields = {
        like: [value for name, value in paper(admin, f"{at}?like={like}").form(BUTTON).fields if name == "to"]
        for like in ("", "2", "3", "guess")
    }
    assert fields == {
        "": ["phone", "first_name", ""],
        "2": ["phone", "first_name", "comments"],
        "3": ["phone", "first_name", ""],
        "guess": ["phone", "first_name", ""],
    }
    twice = page.form(BUTTON).send(admin, to=["phone", "phone", ""], why="odd")
    assert travelled(served, twice).reason_code == "two_columns_one_field"
    number = int(twice.headers["location"].removeprefix("/deliveries/"))
    page = paper(admin, f"/deliveries/{number}/rerun")
    assert "no lead is taken back" in page.text
    again = page.form("Run again").send(admin, to=["phone", "first_name", "city"], save="yes", why="they are towns")
    new = travelled(served, again)
    assert (new.rerun_of, leads(served, new), new.mapping_version) == (number, ["Odense", "Ribe"], 4)
    assert f"another run of the file of delivery #{number}" in paper(admin, f"/deliveries/{new.id}").text


BUTTON = "Take back 2 leads and run again"


def test_what_cannot_be_run_again_says_why_and_what_to_do(served: Served, numbers: dict[str, int]) -> None:
    admin, leader = served.client("admin"), served.client("lead-denmark")
    number = deliver(served.house, "mine.csv", WHERE % (820001, 820002), "nordlead")
    form = paper(leader, f"/deliveries/{number}/rerun").form(BUTTON)
    assert "later files" not in paper(leader, f"/deliveries/{number}/rerun").text
    columns = ["phone", "first_name", "city"]
    for changed, status, said in (
        ({"to": columns, "save": "yes"}, 403, "needs the permission manage_sources. What to do:"),
        ({"to": columns[:2]}, 422, "has 3 columns, and 2 were mapped"),
        ({"to": ["fone", "", ""]}, 422, "Choose another field"),
    ):
        answer = form.send(leader, **changed)  # type: ignore[arg-type]  # texts and lists of them
        assert (answer.status, said in Paper(answer.body.decode()).text) == (status, True), answer.body.decode()
    assert told(served, number).state is State.COMPLETED
    picture = paper(admin, f"/deliveries/{numbers['logo.csv']}/rerun")
    assert "It cannot be run again. logo.csv: this is a PNG picture" in picture.text
    waiting = paper(admin, f"/deliveries/{numbers['waiting.csv']}/rerun")
    assert "Wait until it has ended" in waiting.text
    for page in (picture, waiting):
        assert all(each.action in {"/theme", "/logout"} for each in page.forms)


def test_an_import_is_undone_while_nobody_worked_with_it(served: Served, numbers: dict[str, int]) -> None:
    number = deliver(served.house, "undo.csv", WHERE % (830001, 830002), "nordlead")
    admin, delivery = served.client("admin"), told(served, number)
    form = paper(admin, f"/deliveries/{number}/undo").form("Take back 2 leads")
    call(served, delivery, 1)
    refused = form.send(admin)
    assert refused.status == 409
    for page in (Paper(refused.body.decode()), paper(admin, f"/deliveries/{number}/undo")):
        assert "because of its leads: 1 were called. What to do: Its leads stay" in page.text
        assert not any("Take back 2 leads" in each.buttons for each in page.forms)
    assert "1 were called" in paper(admin, f"/deliveries/{number}/rerun").text
    call(served, delivery, 0)
    assert form.send(admin, why="wrong list").status == 303
    assert (told(served, number).reason_code, leads(served, delivery)) == ("undone", [])
    page = paper(admin, f"/deliveries/{number}")
    assert "Run again with another mapping" in page.text
    assert "Retry" not in page.text
    assert "only a pool that is loaded can be undone" in Paper(form.send(admin).body.decode()).text
    assert "it has become no pool" in paper(admin, f"/deliveries/{numbers['waiting.csv']}/undo").text


def test_the_rejected_records_are_uploaded_with_everything_chosen(served: Served, dirty: int) -> None:
    admin = served.client("admin")
    page = paper(admin, f"/deliveries/{dirty}")
    counts = told(served, dirty).counts
    assert f"Of {counts.records} records, {counts.rejected} were rejected" in page.text
    mend = "/upload?" + urlencode({"campaign": "DK-ENERGY", "owner": "team:denmark", "like": "nordlead"})
    assert mend.replace("&", "&amp;") in admin.ask("GET", f"/deliveries/{dirty}").body.decode()
    form = next(each for each in paper(admin, mend).forms if "Upload" in each.buttons)
    known = {name: value for name, value in form.fields if name != "file"}
    assert known == {"like": "nordlead", "campaign": "DK-ENERGY", "q": "", "owner": "team:denmark"}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{known[name]}\r\n' for name in known]
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="mended.csv"\r\n\r\nPhone\n+4526840001\n'
    body = ("".join(parts) + file + "\r\n--x--\r\n").encode()
    answer = admin.ask("POST", "/upload", body, Content_Type="multipart/form-data; boundary=x")
    assert answer.headers["location"].endswith("?like=nordlead")
    assert "Start from the saved mapping of" in paper(admin, answer.headers["location"]).text


def test_rejected_records_stay_with_the_owner_of_whom_the_files_name_tells(served: Served) -> None:
    define(served, "coded", code_in_name="_(?P<code>[A-Z]+-[A-Z]+)_")
    number = deliver(served.house, "x_DK-AAR_1.csv", b"Phone\n+4526870001\nnone\n", "coded")
    body = served.client("admin").ask("GET", f"/deliveries/{number}").body.decode()
    assert "/upload?campaign=DK-ENERGY&amp;owner=team%3Aaarhus&amp;like=coded" in body


def test_a_file_that_waits_for_its_columns_is_confirmed(served: Served) -> None:
    define(served, "asking", on_unmapped="ask")
    number = deliver(served.house, "ask.csv", WHERE % (850001, 850002), "asking")
    leader = served.client("lead-denmark")
    page = paper(leader, f"/deliveries/{number}")
    assert "Confirm its columns" in page.text
    assert "Cancel" in page.text
    form = paper(leader, f"/deliveries/{number}/rerun").form("Confirm and load it")
    answer = form.send(leader, to=["phone", "first_name", "city"])
    assert leads(served, travelled(served, answer)) == ["Odense", "Ribe"]
    assert "does not wait for a confirmation" in Paper(form.send(leader).body.decode()).text


@pytest.mark.slow
def test_everybody_can_run_it_again_and_undo_it(site: Site) -> None:
    number = deliver(site.house, "look.csv", WHERE % (860001, 860002), "nordlead")
    look_at(site, f"/deliveries/{number}/rerun", "delivery-rerun", ready="form[action$='/rerun'] .columns-table")
    look_at(site, f"/deliveries/{number}/undo", "delivery-undo", ready="form[action$='/undo']")
    call(site, told(site, number), 1)
    look_at(site, f"/deliveries/{number}/undo", "delivery-undo-refused", ready=".notice-bad")
