"""One home with real deliveries, its pages on a port, and a browser, for all tests of the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from ingestd.house import House
from ingestd.webserver import desk_of
from tests.pages.browsing import Served, Site, furnish, launch
from tests.running import prepared
from tests.web.serving import serving_at


@pytest.hookimpl(tryfirst=True)  # before those that are not wanted are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a browser does takes seconds a test: of that, the quickstart's steps are always run, the rest by command."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        kept = item.name.startswith("test_step_") or item.path.name == "test_access.py"  # which needs only the server
        if "browser" in fixtures and not kept:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, dict[str, int]]]:
    """The home, and the numbers of its deliveries by file name."""
    with prepared(tmp_path_factory.mktemp("pages")) as house:
        yield house, furnish(house)


@pytest.fixture(scope="session")
def house(furnished: tuple[House, dict[str, int]]) -> House:
    return furnished[0]


@pytest.fixture(scope="session")
def numbers(furnished: tuple[House, dict[str, int]]) -> dict[str, int]:
    return furnished[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: while Playwright is there, no other test of this process may run an event loop."""
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(house: House) -> Iterator[Served]:
    """The pages, for what needs no browser; tests share them, so what one changes should be its own."""
    with serving_at(desk_of(house), house.places.run) as api:
        yield Served(api=api, house=house)


@pytest.fixture(scope="module")
def site(served: Served, browser: Browser) -> Site:
    """The same pages in a browser."""
    return Site(api=served.api, house=served.house, signed_in=served.signed_in, browser=browser)
