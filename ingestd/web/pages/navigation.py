"""What a person can go to: the pages that there are, as far as this person may open them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingestd.access.callers import Caller
from ingestd.web.api.access import Access
from ingestd.web.pages.routes import Pages

PLACES: Mapping[str, str] = {
    "/deliveries": "Deliveries",
    "/upload": "Upload",
    "/pools": "Lead Pools",
    "/leads": "Lead Admin",
    "/segments": "Segments",
    "/organisation": "Organisation",
    "/campaigns": "Campaigns",
    "/sources": "Sources",
    "/reports": "Reports",
    "/do-not-call": "Do-not-call",
    "/dial": "Dial",
    "/system": "System",
}
"""In their order; one that nobody has declared a page for is not there."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One entry."""

    path: str
    title: str
    access: Access
    """that of the page itself, so that no link leads to a closed door"""

    def holds(self, path: str) -> bool:
        """Whether an address is in this part of the pages."""
        return path == self.path or path.startswith(f"{self.path}/")


def places(every: Iterable[Pages]) -> tuple[Place, ...]:
    """The entries whose pages are declared."""
    declared = {each.path: each.access for pages in every for each in pages.declared if each.method == "GET"}
    return tuple(
        Place(path=path, title=title, access=declared[path]) for path, title in PLACES.items() if path in declared
    )


def open_to(caller: Caller | None, known: Iterable[Place]) -> list[Place]:
    """The entries that this person may open."""
    if caller is None:
        return []
    return [each for each in known if not each.access.needs or caller.permissions.intersection(each.access.needs)]
