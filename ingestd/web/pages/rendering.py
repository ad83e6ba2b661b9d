"""How a page is made: its template, what every page knows, and the headers that keep it safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ingestd.web.pages import navigation
from ingestd.web.pages.assets import Assets
from ingestd.web.pages.formats import FILTERS
from ingestd.web.pages.local import is_local
from ingestd.web.pages.navigation import Place

TEMPLATES = Path(__file__).parents[1] / "templates"

HEADERS: Mapping[str, str] = {
    # Pictures as `data:` are those in Bootstrap's style sheet, such as the tick of a checkbox.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Vary": "HX-Request, Cookie",
}
THEMES = ("auto", "light", "dark")
THEME_COOKIE, NOTICE_COOKIE = "ingestd_theme", "ingestd_notice"
NOTICE_SECONDS = 60
LONGEST_NOTICE = 500


@dataclass(frozen=True, kw_only=True)
class Here:
    """The address of a page, and addresses beside it."""

    path: str
    query: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """The value of a parameter; empty when it is not there."""
        return next((value for key, value in self.query if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a parameter."""
        return [value for key, value in self.query if key == name]

    def to(self, **changed: str | int | Iterable[str] | None) -> str:
        """The same page with other parameters; one that is None, empty or a page's cursor is left out."""
        kept = [(key, value) for key, value in self.query if key not in changed and key != "cursor" and value]
        for key, value in changed.items():
            values = [str(value)] if isinstance(value, str | int) else [str(each) for each in value or ()]
            kept += [(key, each) for each in values if each]
        return f"{self.path}?{urlencode(kept)}" if kept else self.path


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Templates and assets, prepared once for all pages."""

    environment: Environment
    assets: Assets
    places: tuple[Place, ...]

    @classmethod
    def prepare(cls, places: tuple[Place, ...]) -> Studio:
        """Reads everything; a variable that a template does not get is an error, and all text is escaped."""
        assets = Assets.read()
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters.update(FILTERS)
        environment.globals["asset"] = assets.url
        return cls(environment=environment, assets=assets, places=places)

    def render(self, name: str, fragment: str | None, facts: Mapping[str, Any]) -> str:
        """A template, or one block of it."""
        template = self.environment.get_template(name)
        if fragment is None:
            return template.render(facts)
        context = template.new_context(dict(facts))
        return self.environment.concat(template.blocks[fragment](context))


def show(
    request: Request, name: str, *, fragment: str | None = None, status: int = HTTPStatus.OK, **facts: Any
) -> HTMLResponse:
    """A page from its template; for htmx only the block `fragment` of it, when there is one."""
    studio: Studio = request.app.state.studio
    part = fragment if by_htmx(request) else None
    notice = "" if part else _notice(request)
    body = studio.render(name, part, {**_common(request, studio), "notice": notice, **facts})
    answer = HTMLResponse(body, status, headers=dict(HEADERS))
    if notice:
        answer.delete_cookie(NOTICE_COOKIE, path="/")
    return answer


def onward(path: str, notice: str = "") -> RedirectResponse:
    """Sends the browser on after a form was done, to a path of ours; the next page says `notice`."""
    answer = RedirectResponse(path, HTTPStatus.SEE_OTHER)
    if notice:
        facts: dict[str, Any] = {"httponly": True, "samesite": "lax", "path": "/"}
        answer.set_cookie(NOTICE_COOKIE, quote(notice[:LONGEST_NOTICE]), max_age=NOTICE_SECONDS, **facts)
    return answer


def here(request: Request) -> Here:
    """Where the person is: for a part of a page that htmx asks for, too. What could be another host is the start."""
    path = request.url.path
    return Here(path=path if is_local(path) else "/", query=tuple(request.query_params.multi_items()))


def by_htmx(request: Request) -> bool:
    """True when a part of a page is asked for."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def theme(request: Request) -> str:
    """What the person has chosen; `auto` follows the system."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def _common(request: Request, studio: Studio) -> dict[str, Any]:
    caller = getattr(request.state, "caller", None)
    places = navigation.open_to(caller, studio.places)
    return {
        "here": here(request),
        "person": None if caller is None else caller.person,
        "permissions": frozenset() if caller is None else caller.permissions,
        "places": places,
        "linked": {place.path for place in places},
        "theme": theme(request),
        "themes": THEMES,
    }


def _notice(request: Request) -> str:
    return unquote(request.cookies.get(NOTICE_COOKIE, ""))[:LONGEST_NOTICE]
