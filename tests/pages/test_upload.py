"""The quickstart's step 2, and step 3 "In Lead Pools", as a person does them on a daemon that loads the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ingestd.access import people
from ingestd.house import House
from ingestd.receive import drafts
from ingestd.receive.drafts import Draft
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now
from tests.pages.browsing import LAPTOP, ZONE, Served, Site, check_access, look_at, picture
from tests.running import Daemon, until
from tests.web.serving import HASHED, PASSWORD

ROWS = 120
HEADER = "Mobil nr;Fornavn;Efternavn;By;E-mail;Internal remark"


def lead_file(rows: int = ROWS, start: int = 0) -> bytes:
    """A partner's list with headers of its own; two of its numbers are none."""
    lines = [HEADER]
    for place in range(rows):
        phone = "none" if place in (5, 6) else f"28 {(10_00_00 + start + place):06d}"
        lines.append(f"{phone};Ida{place};Holm;Aarhus;ida{place}@example.dk;called by Per")
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A whole daemon with its worker; the team leader of Denmark may sign in."""
    running = Daemon(tmp_path_factory.mktemp("quickstart"))
    running.launch()
    try:
        until(running.endpoints.exists, "open doors", seconds=180)
        with writing(running.house().engine) as connection:
            person = people.known(connection, "lead-denmark")
            people.set_password(connection, Deed(actor=COMMAND_LINE, at=now()), person, HASHED)
        yield running
    finally:
        running.__exit__()


@contextmanager
def signed_in(daemon: Daemon, browser: Browser) -> Iterator[Page]:
    door = daemon.doors["http"]
    address = f"http://{door['host']}:{door['port']}"
    context = browser.new_context(base_url=address, viewport=LAPTOP, timezone_id=ZONE, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        page.goto("/login?next=/pools")
        page.get_by_label("Login").fill("lead-denmark")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Lead Pools").wait_for()
        yield page
    finally:
        context.close()


def test_step_2_upload_leads_and_assign_ownership(daemon: Daemon, browser: Browser, tmp_path: Path) -> None:
    """To upload leads manually via CSV:

    - Prepare CSV (35MB max) containing all lead data.
    - Go to Campaigns > Upload Lead Pool.
    - Select which Campaign to add the leads to
    - Select the team or user that will be the lead owner
    - Click Upload and choose your file.
    - Map your data fields: Match CSV columns to system fields; Unmapped fields are ignored
    - Click Import.
    """
    file = tmp_path / "my leads.csv"
    file.write_bytes(lead_file())
    with signed_in(daemon, browser) as page:
        page.get_by_role("link", name="Upload Lead Pool").click()
        page.get_by_text("35.0 MB at most").wait_for()
        page.get_by_label("Campaign", exact=True).select_option("DK-ENERGY")
        page.get_by_label("Search for a team or user").fill("copenhagen")
        page.get_by_role("radio", name="Copenhagen DK-CPH Company").check()
        page.locator("#crew").get_by_text("agents can call these").wait_for()
        page.get_by_label("File", exact=True).set_input_files(file)
        page.get_by_role("button", name="Upload", exact=True).click()
        page.get_by_role("heading", name="Map your data fields").wait_for()
        assert len(list(daemon.house().spool.drafts.found("files"))) == 1
        expect(page.get_by_label("Field for the column Mobil nr")).to_have_value("phone")
        page.get_by_label("Field for the column Internal remark").select_option("Ignored")
        page.get_by_text("Unmapped columns are ignored.").wait_for()
        check_access(page)
        assert daemon.house().ledger.latest(limit=9) == []  # nothing is a delivery before Import
        page.get_by_role("button", name="See what will happen").click()
        sums = page.locator(".totals-parts")
        expect(sums).to_contain_text(f"= {ROWS} records")
        expect(sums).to_contain_text("2 rejected")
        page.get_by_text("Internal remark").wait_for()
        assert daemon.house().ledger.latest(limit=9) == []
        picture(page, "upload-quickstart-preview")
        page.get_by_role("button", name="Import").click()
        page.get_by_role("heading", name="my leads.csv").wait_for()
        expect(page.locator(".head .chip")).to_have_text("Active")
        expect(page.locator(".owners")).to_contain_text("Copenhagen")
    (delivery,) = daemon.house().ledger.latest(limit=9)
    assert (delivery.name, delivery.default_owner, delivery.counts.inserted) == (
        "my leads.csv",
        "team:copenhagen",
        ROWS - 2,
    )
    assert list(daemon.house().spool.drafts.found("files")) == []


def test_step_3_view_leads_in_lead_pools(daemon: Daemon, browser: Browser) -> None:
    """In Lead Pools

    - Go to Campaigns > Lead Pools and check your new pool shows "Active" with the expected totals
    - Check the Lead Pool content by clicking Details > Download Full Log
    - Add KPIs to get granular data on your Lead Pool.
    """
    with signed_in(daemon, browser) as page:
        row = page.get_by_role("row").filter(has_text="my leads.csv")
        expect(row.locator(".chip")).to_have_text("Active")
        expect(row.locator("td.num")).to_have_text(["118", "118", "118"])
        expect(row).to_contain_text("lead-denmark")
        row.get_by_role("link", name="Details").click()
        with page.expect_download() as coming:
            page.get_by_role("link", name="Download Full Log").click()
        log = Path(coming.value.path()).read_text(encoding="utf-8").splitlines()
        assert len(log) == 1 + ROWS
        assert sum(",rejected," in line for line in log) == 2
        page.get_by_text("Add KPI").first.click()
        page.get_by_label("Reject rate").check()
        page.get_by_label("Unprocessed", exact=True).check()
        page.get_by_role("button", name="Show these KPIs").click()
        expect(page.locator(".figures")).to_contain_text("1.7 %")
        page.goto("/pools")
        expect(page.get_by_role("row").filter(has_text="my leads.csv")).to_contain_text("1.7 %")


def test_it_works_without_scripts(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    file.write_bytes(lead_file(20, start=5_000))
    with site.visit("admin", java_script_enabled=False) as page:
        page.goto("/upload")
        page.get_by_label("Campaign", exact=True).select_option("DK-ENERGY")
        page.get_by_role("radio", name="Denmark DK ").check()
        page.get_by_label("File", exact=True).set_input_files(file)
        page.get_by_role("button", name="Upload", exact=True).click()
        page.get_by_role("button", name="See what will happen").click()
        page.get_by_role("link", name="Look through the whole file").click()
        page.get_by_label("Save this mapping for later files of").select_option("nordlead")
        page.get_by_role("button", name="Import").click()
        page.get_by_text("The file is kept").wait_for()
        page.get_by_role("link", name="Look again").wait_for()
    assert site.house.ledger.latest(limit=1)[0].name == "plain.csv"
    with site.visit("admin") as page:
        page.goto("/upload")


def draft(site: Served, content: bytes, name: str = "draft.csv", owner: str = "team:denmark") -> Draft:
    with reading(site.house.engine) as connection:
        person = people.known(connection, "admin")
    with closing(site.house.spool.open(limit=10_000_000)) as incoming:
        incoming.write(content)
        facts = {"user_id": person.id, "campaign": "DK-ENERGY", "owner": owner, "name": name}
        return drafts.keep(site.house.spool, incoming, now(), **facts)


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/upload?campaign=DK-ENERGY", "upload")
    held = draft(site, lead_file(50, start=9_000))
    look_at(site, f"/upload/{held.number}", "upload-columns")
    to = "&".join(f"to={field}" for field in ("phone", "first_name", "last_name", "city", "email", ""))
    look_at(site, f"/upload/{held.number}/preview?{to}", "upload-preview", ready="#rehearsal .totals")


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    file.write_bytes(b"x" * (35 * 1024 * 1024 + 1))
    with site.visit("admin") as page:
        page.goto("/upload")
        page.get_by_label("File", exact=True).set_input_files(file)
        page.get_by_text("35 MB is the most. Split it").wait_for()
        assert page.evaluate("document.querySelector('.upload').checkValidity()") is False
        picture(page, "upload-too-large")


def form(held: list[tuple[str, str]], name: str, content: bytes) -> bytes:
    parts = [f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in held]
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return b"".join((*parts, head, content, b"\r\n--x--\r\n"))


@pytest.mark.parametrize(
    ("held", "name", "status"),
    [
        ([("campaign", "DK-ENERGY"), ("owner", "team:denmark")], "a.csv", 303),
        ([("campaign", "DK-ENERGY")], "a.csv", 422),
        ([("campaign", "NOWHERE"), ("owner", "team:denmark")], "a.csv", 422),
        ([("campaign", "DK-ENERGY"), ("owner", "team:nobody")], "a.csv", 422),
        ([("campaign", "DK-ENERGY"), ("owner", "team:denmark")], "", 422),
    ],
)
def test_what_is_missing_or_unknown_is_said(site: Site, held: list[tuple[str, str]], name: str, status: int) -> None:
    kind = "multipart/form-data; boundary=x"
    answer = site.client("admin").ask("POST", "/upload", form(held, name, lead_file(3)), Content_Type=kind)
    assert answer.status == status, answer.body
    if status == 303:
        number = answer.headers["location"].rpartition("/")[2]
        assert site.client("admin").ask("GET", f"/upload/{number}").status == 200
        assert site.client("lead-denmark").ask("GET", f"/upload/{number}").status == 404


def test_the_server_refuses_what_is_too_large(site: Site) -> None:
    held = [("campaign", "DK-ENERGY"), ("owner", "team:denmark")]
    body = form(held, "a.csv", b"x" * (36 * 1024 * 1024))
    kind = "multipart/form-data; boundary=x"
    assert site.client("admin").ask("POST", "/upload", body, Content_Type=kind).status == 413


def test_what_is_no_table_is_explained_and_can_be_forgotten(site: Site, house: House) -> None:
    held = draft(site, b"", "empty.csv")
    with site.visit("admin") as page:
        page.goto(f"/upload/{held.number}")
        page.get_by_text("This file cannot be read as a table.").wait_for()
        check_access(page)
        page.get_by_role("button", name="Forget this file").click()
        page.get_by_text("empty.csv was forgotten.").wait_for()
    assert site.client("admin").ask("GET", f"/upload/{held.number}").status == 404


def test_what_one_reads_is_written_as_people_write(served: Served) -> None:
    client, empty = served.client("admin"), draft(served, b"", "nothing.csv")
    told = client.ask("GET", f"/upload/{empty.number}").body.decode()
    assert "The file is empty. " in told
    single = draft(served, b"Phone,Owner code\n26909090,DK-CPH\n")
    told = client.ask("GET", f"/upload/{single.number}/rehearsal?to=phone&to=ownership_code").body.decode()
    assert re.search(r">1</span> new lead\b", told)
    assert "= 1</span> record<" in told
    coded = draft(served, b"Phone,Owner code\n26909091,QQQQQQQ\n")
    told = client.ask("GET", f"/upload/{coded.number}/rehearsal?to=phone&to=ownership_code").body.decode()
    assert "take one of the codes under Organisation" in told
    assert "ask the operator" not in told


def test_a_mapping_that_cannot_be_is_said_before_import(site: Site) -> None:
    held = draft(site, lead_file(3))
    client = site.client("admin")
    short = client.ask("GET", f"/upload/{held.number}/rehearsal?to=phone")
    assert (short.status, b"6 columns" in short.body) == (422, True)
    none = client.ask("GET", f"/upload/{held.number}/rehearsal?" + "&".join(["to="] * 6))
    assert (none.status, b"Nothing would be loaded" in none.body, b">Import<" in none.body) == (200, True, False)
