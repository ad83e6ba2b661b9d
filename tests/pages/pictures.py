"""The pictures of the documents, taken anew from a demo: `make pictures` writes them into docs/images/.

Each function walks one part of docs/operators.md, in its order: a later one finds what an earlier one did.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode

from playwright.sync_api import FilePayload, FloatRect, Locator, Page, ViewportSize, expect, sync_playwright

from ingestd import demo, samples, week
from ingestd.store.ledger import now
from ingestd.webserver import desk_of
from tests.databases import ROOT
from tests.pages.browsing import THEMES, Site, launch
from tests.running import until
from tests.web.serving import Api

IMAGES = ROOT / "docs" / "images"
SIZE = ViewportSize(width=1280, height=800)
MARGIN = 16
"""pixels around a part of a page"""
LEADER, AGENT = "lead-denmark", "copenhagen-1"
FILE = "energy fair.csv"
_HEADERS = {
    "Phone": "Mobil nr", "First name": "Fornavn", "Last name": "Efternavn", "Postcode": "Postnr", "City": "By",
    "E-mail": "E-mail", "Current supplier": "Leverandør", "Comments": "Stand note",
}  # fmt: skip
"""What the columns of the samples are called in the uploaded file."""


def main() -> None:
    """Takes all of them, and removes those that are no more."""
    os.environ["INGESTD_NODE__NAME"] = "demo"  # and not the name of whoever's machine this is
    with demo.standing(ROOT / "config", None) as stand, sync_playwright() as playwright:
        api = Api(desk=desk_of(stand.house), port=stand.doors["http"]["port"])
        site = Site(api=api, house=stand.house, browser=launch(playwright))
        for old in IMAGES.glob("*.png"):
            old.unlink()
        for part in (deliveries, upload, lead_pools, lead_admin, owners, one_lead, segments, dial, reports, the_house):
            part(site)
        site.browser.close()
    demo.console.print(f"{len(list(IMAGES.glob('*.png')))} pictures are in {IMAGES.relative_to(ROOT)}")


def keep(page: Page, name: str, *parts: Locator) -> None:
    """Keeps what one sees: all of the window, or only the given parts of the page and what lies between them."""
    settled(page)
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.png"
    if not parts:
        page.screenshot(path=path, animations="disabled")
        return
    page.screenshot(path=path, animations="disabled", clip=around(parts), full_page=True)


def around(parts: Sequence[Locator]) -> FloatRect:
    """The smallest part of the page that has all of these and a margin; not higher than the window."""
    boxes = [box for box in (part.bounding_box() for part in parts) if box is not None]
    left = max(min(box["x"] for box in boxes) - MARGIN, 0)
    top = max(min(box["y"] for box in boxes) - MARGIN, 0)
    right = min(max(box["x"] + box["width"] for box in boxes) + MARGIN, SIZE["width"])
    bottom = max(box["y"] + box["height"] for box in boxes) + MARGIN
    return {"x": left, "y": top, "width": right - left, "height": min(bottom - top, SIZE["height"])}


def settled(page: Page) -> None:
    """Waits for what comes after the page, goes to its top, and puts the pointer where nothing answers to it."""
    expect(page.locator(".later, .htmx-request")).to_have_count(0)
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, SIZE["height"] - 1)


def deliveries(site: Site) -> None:
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto("/deliveries?view=all")
        keep(page, "deliveries", page.locator(".bar"), page.locator(".deliveries tbody tr").nth(5))
        address = page.get_by_role("link", name="nordlead-corrections.csv").first.get_attribute("href")
    in_both_themes(site, f"{address}", "delivery")


def in_both_themes(site: Site, address: str, name: str) -> None:
    """A page by day and by night: `name` and `name`-dark."""
    for theme in THEMES:
        with site.visit(LEADER, theme=theme, size=SIZE) as page:
            page.goto(address)
            keep(page, name if theme == "light" else f"{name}-{theme}")


def upload(site: Site) -> None:
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto("/upload")
        page.get_by_label("Campaign", exact=True).select_option("DK-ENERGY")
        page.get_by_label("Search for a team or user").fill("aarhus")
        page.get_by_role("radio", name="Aarhus DK-AAR Company").check()
        page.locator("#crew").get_by_text("agents can call these").wait_for()
        file = FilePayload(name=FILE, mimeType="text/csv", buffer=listed())
        page.get_by_label("File", exact=True).set_input_files(file)
        keep(page, "upload")
        page.get_by_role("button", name="Upload", exact=True).click()
        page.get_by_role("heading", name="Map your data fields").wait_for()
        page.get_by_label("Field for the column Stand note").select_option("Ignored")
        keep(page, "upload-columns")
        page.get_by_role("button", name="See what will happen").click()
        page.locator("#rehearsal .totals").wait_for()
        keep(page, "upload-preview")
        page.get_by_role("button", name="Import").click()
        page.get_by_role("heading", name=FILE).wait_for()


def listed() -> bytes:
    """What somebody brings home from a fair; of two people the number was not understood."""
    made = list(csv.DictReader(io.StringIO(samples.clean(120, start=2_500_000, seed=5).decode())))
    for place, phone in ((17, "none"), (64, "12 34")):
        made[place]["Phone"] = phone
    for row in made:
        row["Comments"] = "spoke with Per"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";")
    writer.writerow(_HEADERS.values())
    writer.writerows([row[name] for name in _HEADERS] for row in made)
    return text.getvalue().encode()


def lead_pools(site: Site) -> None:
    columns = ["name", "campaign", "state", "use", "ready_to_dial", "total_open", "total", "uploaded"]
    asked = {"campaign": "DK-ENERGY", "kpi": ["reject_rate", "success_rate"], "column": columns}
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto(f"/pools?{urlencode(asked, doseq=True)}")
        keep(page, "lead-pools")
        page.get_by_role("row").filter(has_text=FILE).get_by_role("link", name="Details").click()
        page.get_by_role("heading", name="Downloads").wait_for()
        keep(page, "lead-pool")


def lead_admin(site: Site) -> None:
    wanted = {
        "filter": f"uploaded_by is user:{LEADER} and campaign is DK-ENERGY",
        "columns": "phone,last_name,city,owner_name,status,pool_name,uploaded_at",
    }
    in_both_themes(site, f"/leads?{urlencode(wanted)}", "lead-admin")


def owners(site: Site) -> None:
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto(f"/leads?{urlencode({'filter': f'uploaded_by is user:{LEADER}'})}")
        chosen = page.locator("table.leads tbody input[name=lead]")
        held = chosen.nth(0).get_attribute("value")
        site.client("aarhus-1").do("POST", f"leads/{held}/lock")
        for place in range(4):
            chosen.nth(place).check()
        page.get_by_role("button", name="Change Owner").click()
        dialog = page.get_by_role("dialog", name="Change Owner")
        dialog.get_by_label("New owner").fill("team:copenhagen")
        dialog.get_by_label("Why").fill("Copenhagen has the time this week")
        keep(page, "change-owner", dialog)
        dialog.get_by_role("button", name="Give them to this owner").click()
        page.get_by_role("link", name="Moved").wait_for()
        keep(page, "change-owner-result", page.locator("#change"))


def one_lead(site: Site) -> None:
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto(f"/leads?{urlencode({'filter': f'uploaded_by is user:{LEADER} and owner is team:copenhagen'})}")
        page.locator("table.leads tbody th a").first.click()
        page.get_by_label("For the agent").fill("aarhus-1")
        page.get_by_role("button", name="Explain").click()
        page.get_by_text("may not").first.wait_for()
        keep(page, "lead", page.locator(".trail"), page.locator(".panels").first)
        keep(page, "lead-explained", page.locator("#explained"))


def segments(site: Site) -> None:
    leader = site.client(LEADER)
    group = leader.do("POST", "segment-groups", {"project": "ENERGY", "name": "Targets"})["id"]
    (pool,) = (each["id"] for each in leader.get("pools?limit=1")["items"])
    aarhus = [{"field": "city", "op": "is", "value": "Aarhus C"}, {"field": "status", "op": "is", "value": "open"}]
    for name, tree in (("Aarhus, open", {"all": aarhus}), ("The fair", {"field": "pool", "op": "is", "value": pool})):
        leader.do("POST", "segments", {"group": group, "name": name, "filter": tree})
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto("/segments?project=ENERGY")
        page.get_by_role("link", name="New segment in Targets").click()
        for field, op, value in (("City", "is", "Odense C"), ("Status", "is", "open")):
            page.get_by_label("Field", exact=True).select_option(label=field)
            page.wait_for_load_state("networkidle")
            page.get_by_label("Comparison", exact=True).select_option(label=op)
            page.get_by_label("Value").fill(value)
            page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_label("Name of the segment").fill("Odense, open")
        keep(page, "segment")
        page.get_by_role("button", name="Save the segment").click()
        until(lambda: placed(page), "every lead in its segment")
        keep(page, "segments", page.locator(".bar"), page.locator(".segment-group"))


def placed(page: Page) -> bool:
    page.goto("/segments?project=ENERGY")
    settled(page)
    return page.get_by_text("Every lead of this project is in its place.").is_visible()


def dial(site: Site) -> None:
    with site.visit(AGENT, theme="light", size=SIZE) as page:
        page.goto("/dial?campaign=DK-ENERGY")
        page.get_by_label("Segment").select_option(label="Targets: Aarhus, open")
        keep(page, "dial-start", page.locator(".head"), page.locator(".dial-start"))
        page.get_by_role("button", name="Start").click()
        page.locator("#result").wait_for()
        keep(page, "dial")


def reports(site: Site) -> None:
    with site.visit(LEADER, theme="light", size=SIZE) as page:
        page.goto(f"/reports?from={now() - timedelta(days=week.DAYS):%Y-%m-%d}")
        keep(page, "reports")


def the_house(site: Site) -> None:
    with site.visit("admin", theme="light", size=SIZE) as page:
        page.goto("/organisation")
        keep(page, "organisation", page.locator(".bar"), page.locator(".tree").first)
        page.goto("/system")
        page.locator("#now tbody th .cell-more").evaluate("place => place.remove()")  # this machine and folder
        keep(page, "system", page.locator(".bar"), page.locator("#now"))


if __name__ == "__main__":
    main()
