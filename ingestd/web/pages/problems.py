"""Everything that goes wrong, as a page that says what to do; for a part of a page, as a word beside it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import HEADERS, by_htmx, show
from ingestd.web.problems import Problem, Told

_ADVICE: Mapping[int, tuple[str, str]] = {
    400: ("This request cannot be understood", "Go back and try it once more."),
    403: ("You may not open this", "Ask an administrator for the permission, or sign in as somebody who has it."),
    404: ("There is nothing here", "It may have been removed, or the link is wrong. Search for it from a list."),
    405: ("This address does nothing by itself", "Use the buttons of the page that it belongs to."),
    409: ("This cannot be done now", "Look at how things stand, and try again if it still makes sense."),
    412: ("Somebody has changed this meanwhile", "Load the page again and look at what is there now."),
    413: ("This is too large", "Send less at once."),
    422: ("Something in this request cannot be used", "Mend what is named, and send it again."),
    429: ("Too many attempts", "Wait a moment, and try again."),
    500: ("Something broke on our side", "It is noted in the daemon's log. Try again; if it stays, tell the operator."),
    503: ("Something of ours is away", "Most often a database that restarts. Nothing is lost; try again in a moment."),
}


def shown(request: Request, told: Told) -> Response:
    """A problem for whoever asked: programs get problem details, browsers a page."""
    if request.url.path.startswith("/api/") or not _for_people(request):
        return told
    if told.status_code == HTTPStatus.UNAUTHORIZED:
        return _to_login(request)
    answer = page(request, told.problem)
    for name in ("retry-after", "allow"):
        if name in told.headers:
            answer.headers[name] = told.headers[name]
    return answer


def page(request: Request, problem: Problem) -> Response:
    """A problem as a page, or as a notice beside what the person was looking at."""
    title, advice = _ADVICE.get(problem.status, (problem.title, "Go back and try it once more."))
    facts = {"problem": problem, "title": title, "advice": advice, "again": _wanted(request)}
    answer = show(request, "problem.html", fragment="fragment", status=problem.status, **facts)
    if by_htmx(request):
        answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#notices", "innerHTML"
    return answer


def _for_people(request: Request) -> bool:
    return "hx-request" in request.headers or "text/html" in request.headers.get("accept", "")


def _to_login(request: Request) -> Response:
    """To the form, and from there back to where the person wanted to go."""
    target = f"/login?{urlencode({'next': _wanted(request)})}"
    if by_htmx(request):
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={**HEADERS, "HX-Redirect": target})
    return RedirectResponse(target, HTTPStatus.SEE_OTHER, headers=dict(HEADERS))


def _wanted(request: Request) -> str:
    if request.method == "GET" and not by_htmx(request):
        return local_path(f"{request.url.path}?{request.url.query}".rstrip("?"))
    before = urlsplit(request.headers.get("hx-current-url") or request.headers.get("referer", ""))
    return local_path(f"{before.path}?{before.query}".rstrip("?"))
