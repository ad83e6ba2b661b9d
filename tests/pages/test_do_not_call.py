"""Do-not-call lists in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from ingestd.leads import lead
from ingestd.store.engine import reading
from tests.leads.conftest import Desk
from tests.pages.browsing import Site, check_access, look_at, picture


def test_a_number_is_added_found_and_taken_off(site: Site) -> None:
    (number,) = Desk(engine=site.house.engine).leads({"phone": "+4529111222"})
    with site.visit() as page:
        page.goto("/do-not-call")
        page.get_by_label("Numbers, one a line").fill("29 11 12 22\n+45 29 11 12 23")
        page.get_by_label("Why nobody may call them").fill("asked by letter")
        page.get_by_role("button", name="Add the numbers").click()
        expect(page.get_by_role("alert")).to_contain_text("29 11 12 22")
        page.get_by_label("Country of numbers without +").fill("DK")
        page.get_by_role("button", name="Add the numbers").click()
        expect(page.locator("#notices")).to_contain_text("2 added, 0 were listed already, 1 open leads closed")
        page.get_by_label("Search a number").fill("+45 29 11 12 22")
        page.get_by_role("button", name="Search").click()
        found = page.get_by_role("region", name=re.compile("^\\+4529111222"))
        expect(found).to_contain_text("asked by letter")
        expect(found).to_contain_text(str(number))
        row = page.get_by_role("row", name=re.compile("4529111222"))
        row.get_by_role("button", name="Remove").click()
        page.locator("dialog[open]").get_by_label("Reason, for the audit").fill("a mistake")
        check_access(page)
        picture(page, "do-not-call-remove")
        page.get_by_role("button", name="Take it off the list").click()
        expect(page.locator("#notices")).to_contain_text("+4529111222 may be called again")
    with reading(site.house.engine) as connection:
        assert lead.find(connection, number).status == "in_global_do_not_call_list"


def test_a_file_is_imported_and_its_rejects_are_told(site: Site) -> None:
    with site.visit() as page:
        page.goto("/do-not-call?campaign=DK-ENERGY")
        page.get_by_label("Reason of the whole file").fill("robinson list")
        body = b"phone\n+4529333001\n29333002\n<b>nobody</b>\n"
        page.get_by_label("File", exact=True).set_input_files(
            {"name": "robinson.csv", "mimeType": "text/csv", "buffer": body}
        )
        page.get_by_role("button", name="Import the file").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Numbers of robinson.csv")
        expect(page.locator("table")).to_contain_text("<b>nobody</b>")
        check_access(page)
        picture(page, "do-not-call-import")
        page.get_by_role("link", name="To the list").click()
        expect(page.locator("table").first).to_contain_text("+4529333002")


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    look_at(site, "/do-not-call?q=%2B4528999999", "do-not-call", ready="table")
    look_at(site, "/do-not-call?campaign=DK-FIBRE", "do-not-call-none", ready=".empty")
