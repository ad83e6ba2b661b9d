"""A real browser on real pages: who visits, what they see, and whether everybody can use it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright, ViewportSize

from ingestd import samples
from ingestd.house import House
from ingestd.leads import do_not_call
from ingestd.model import Arrival, Completeness
from ingestd.receive.companions import kind_of
from ingestd.receive.landing import Landing
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from ingestd.worker import publisher_of, road_of
from tests.databases import ROOT
from tests.web.serving import Api, Client

SCREENSHOTS = ROOT / "build" / "screenshots"
LAPTOP, PHONE = ViewportSize(width=1360, height=860), ViewportSize(width=390, height=780)
ZONE = "Europe/Copenhagen"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
]
THEMES = ("light", "dark")


def chromium() -> str:
    """The system's Chromium; without one the test is skipped, or fails where it is demanded."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("INGESTD_REQUIRE_CHROMIUM"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def launch(playwright: Playwright) -> Browser:
    """A browser that asks nobody outside of the test for anything."""
    return playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)


@dataclass(kw_only=True)
class Served:
    """The pages of a prepared home, and those who ask for them."""

    api: Api
    house: House
    signed_in: dict[str, Client] = field(default_factory=dict)

    def client(self, login: str) -> Client:
        """A user who has signed in, without a browser: for what has no picture."""
        if login not in self.signed_in:
            self.signed_in[login] = self.api.user(login)
        known = self.signed_in[login]
        return Client(port=known.port, headers={**known.headers, "Accept": "text/html"})


@dataclass(kw_only=True)
class Site(Served):
    """The same, and a browser in which they are looked at."""

    browser: Browser

    @property
    def address(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self.api.port}"

    @contextmanager
    def visit(
        self, login: str | None = "admin", *, theme: str = "auto", size: ViewportSize = LAPTOP, **facts: Any
    ) -> Iterator[Page]:
        """A page of a browser in which somebody has signed in; whatever the browser complains of fails the test."""
        told = {"base_url": self.address, "viewport": size, "timezone_id": ZONE, "locale": "en-GB", **facts}
        context = self.browser.new_context(**told)
        if login is not None:
            name, _, value = self.client(login).headers["Cookie"].partition("=")
            context.add_cookies([{"name": name, "value": value, "url": self.address}])
        if theme != "auto":
            context.add_cookies([{"name": "ingestd_theme", "value": theme, "url": self.address}])
        page, complaints = context.new_page(), list[str]()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
        try:
            yield page
        finally:
            context.close()
        unknown = [each for each in complaints if "Failed to load resource" not in each]
        assert unknown == [], unknown


def check_access(page: Page) -> None:
    """Everybody can use the page as it is now, as far as axe-core can tell."""
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def look_at(site: Site, path: str, name: str, *, login: str = "admin", ready: str = "main") -> None:
    """A page in both themes and on a phone: nothing for axe-core to find, nothing wider than the screen, and a picture.

    `ready` is what has to be there before one looks.
    """
    for theme in THEMES:
        with site.visit(login, theme=theme) as page:
            page.goto(path)
            page.locator(ready).first.wait_for()
            page.wait_for_load_state("networkidle" if not page.locator("[data-live]").count() else "load")
            check_access(page)
            picture(page, f"{name}-{theme}")
    with site.visit(login, theme="light", size=PHONE) as page:
        page.goto(path)
        page.locator(ready).first.wait_for()
        check_access(page)
        picture(page, f"{name}-phone")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} pixels wider than a phone"


def picture(page: Page, name: str) -> None:
    """Keeps what one sees, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def deliver(house: House, name: str, data: bytes, source: str, *, protocol: str = "ftps", load: bool = True) -> int:
    """A file as a door lands it; its number. Loaded at once, unless it is to wait in the queue."""
    landing = Landing(house.spool, house.ledger, ring=lambda: None)
    whole = Completeness.ASSUMED if protocol == "ftp" else Completeness.PROVEN
    evidence = {"ftp": "tcp fin", "ftps": "tls close_notify", "sftp": "close", "folder": "quiet 2 s"}[protocol]
    told = {"source": source, "login": source, "peer": "192.0.2.7", "protocol": protocol, "name": name}
    arrival = Arrival(**told, completeness=whole, evidence=evidence)
    with closing(landing.open(len(data) + 1)) as incoming:
        incoming.write(data)
        number = landing.accept(incoming, arrival).delivery_id
    assert number is not None
    if load:
        road_of(house).travel(number)
        house.dispatcher.done(number)
        publisher_of(house).sweep()
    return number


def furnish(house: House) -> dict[str, int]:
    """A home that things have happened in: every sample of the demo is delivered; file → number of the delivery."""
    with writing(house.engine) as connection:
        deed = Deed(actor=COMMAND_LINE, at=now())
        do_not_call.add(connection, ["+4528999999"], None, deed)
    (publisher_of(house).drop / "fibreweb").mkdir(parents=True)
    numbers: dict[str, int] = {}
    for sample in samples.every(clean_rows=2_000):
        if kind_of(sample.name) is None:
            protocol = sample.door
            numbers[sample.name] = deliver(house, sample.name, sample.data, sample.source, protocol=protocol)
    again = samples.clean(2_000)
    numbers["again"] = deliver(house, "nordlead-2026-11.csv", again, "nordlead", load=False)
    numbers["waiting.csv"] = deliver(house, "waiting.csv", samples.clean(30, start=90_000), "nordlead", load=False)
    return numbers
