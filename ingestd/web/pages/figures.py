"""The figures that a person has added to lead pools: which they are, who remembers them, how they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fastapi import Request, Response

from ingestd.leads.kpis import Figure, Kpi
from ingestd.leads.pool_views import MOST_FIGURES
from ingestd.web.pages.formats import NOTHING
from ingestd.web.pages.rendering import Here

COOKIE = "ingestd_pool_kpis"
NONE = "none"
"""In the address of a page that has no figures, whatever is remembered."""
YEAR = 365 * 24 * 3600

_GROUPS = (("", "Rates and totals"), ("count", "Leads by status"), ("share", "Share by status"),
           ("first", "Ever in a status"))  # fmt: skip
_ALL = ", of all leads"
_EVER = ", now or once"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One figure that can be added."""

    name: str
    title: str
    about: str
    chosen: bool


def chosen(request: Request, known: Iterable[Kpi]) -> list[Kpi]:
    """The figures of a page in their order: those in its address, else those that this browser remembers."""
    asked = request.query_params.getlist("kpi")
    names = asked or unquote(request.cookies.get(COOKIE, "")).split(",")
    by_name = {kpi.name: kpi for kpi in known}
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name][:MOST_FIGURES]


def standing(here: Here, shown: Iterable[Kpi]) -> Here:
    """The address of the page with its figures in it, whoever remembered them; or that it shall have none."""
    rest = tuple(pair for pair in here.query if pair[0] != "kpi")
    names = [kpi.name for kpi in shown] or ([NONE] if here.all("kpi") else [])
    return Here(path=here.path, query=(*rest, *(("kpi", name) for name in names)))


def remember(answer: Response, names: Iterable[str]) -> None:
    """Keeps them in this browser."""
    answer.set_cookie(COOKIE, quote(",".join(names)), max_age=YEAR, path="/", samesite="lax", httponly=True)


def groups(known: Iterable[Kpi], shown: Iterable[Kpi]) -> list[tuple[str, list[Choice]]]:
    """Every figure, to choose from."""
    names, every = {kpi.name for kpi in shown}, list(known)
    return [
        (
            heading,
            [_choice(kpi, names) for kpi in every if kind == (kpi.name.partition(":")[0] if ":" in kpi.name else "")],
        )
        for kind, heading in _GROUPS
    ]


def title(kpi: Kpi) -> str:
    """The head of a figure's column; `[1]` is what operators know first-time counts by."""
    kind, _, code = kpi.name.partition(":")
    if not code:
        return kind.replace("_", " ").capitalize()
    if kind == "share":
        return f"{kpi.meaning.removesuffix(_ALL)} %"
    return f"{kpi.meaning.removesuffix(_EVER)} [1]" if kind == "first" else kpi.meaning


def slow(kpi: Kpi) -> bool:
    """True for what is counted by reading the leads: it comes after the page."""
    return kpi.name.startswith("first:")


def written(kpi: Kpi, value: Figure) -> str:
    """A figure in its unit."""
    if value is None:
        return NOTHING
    if kpi.unit == "percent":
        return f"{value:.1f} %"
    if kpi.unit == "days":
        return f"{value:,.1f} d"
    return f"{value:,.2f}" if kpi.unit == "attempts" else f"{value:,.0f}"


def _choice(kpi: Kpi, names: set[str]) -> Choice:
    return Choice(name=kpi.name, title=title(kpi), about=kpi.meaning, chosen=kpi.name in names)


def address(path: str, names: Iterable[str]) -> str:
    """A page of ours with other figures."""
    parts = urlsplit(path)
    query = tuple(pair for pair in parse_qsl(parts.query) if pair[0] not in ("kpi", "cursor"))
    return Here(path=parts.path, query=query).to(kpi=list(names) or NONE)
