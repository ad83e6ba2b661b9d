"""The list of deliveries, as an operator uses it."""

from __future__ import annotations

from tests.pages.browsing import Site, look_at


def test_everybody_can_use_the_list(site: Site) -> None:
    look_at(site, "/deliveries?view=all", "deliveries", ready="#list")


def test_everybody_can_use_the_page(site: Site, numbers: dict[str, int]) -> None:
    path = f"/deliveries/{numbers['nordlead-corrections.csv']}"
    look_at(site, path, "delivery", ready="#columns table")
