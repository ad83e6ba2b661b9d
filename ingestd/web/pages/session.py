"""Signing in and out, the start page, and the theme: what every person needs before all else."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

import structlog
from fastapi import Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from ingestd.access.people import LONGEST_PASSWORD
from ingestd.web.api import gate, session
from ingestd.web.api.access import ANYBODY, SIGNED_IN
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.pages import navigation
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import THEME_COOKIE, onward, show
from ingestd.web.pages.routes import Pages
from ingestd.web.problems import NotSignedIn, TooMany

log = structlog.get_logger()
pages = Pages()

YEAR = 365 * 24 * 3600

Next = Annotated[str, Query(max_length=2_000)]
NextField = Annotated[str, Form(max_length=2_000)]


@pages.get("/", access=SIGNED_IN)
def start(request: Request, caller: ByCaller) -> Response:
    """The first page that the person may open."""
    open_to = navigation.open_to(caller, request.app.state.studio.places)
    return RedirectResponse(open_to[0].path) if open_to else show(request, "start.html")


@pages.get("/login", access=ANYBODY)
def login_form(request: Request, next: Next = "/") -> Response:  # noqa: A002 - the parameter's name in the address
    """Login and password."""
    if request.state.caller is not None:
        return onward(local_path(next))
    return show(request, "login.html", login="", next=local_path(next), problem="")


@pages.post("/login", access=ANYBODY)
async def login(
    request: Request,
    desk: AtDesk,
    login: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=LONGEST_PASSWORD)] = "",
    next: NextField = "/",  # noqa: A002 - the field's name in the form
) -> Response:
    """As POST /session of the API: the same passwords, patience and sessions."""
    peer = gate.address(request)
    try:
        person = await session.proven(desk, peer, login, password)
    except NotSignedIn:
        return _again(request, login, next, "Login or password is wrong.", HTTPStatus.UNAUTHORIZED)
    except TooMany as problem:
        told = f"Too many wrong passwords. Wait {max(1, round(problem.facts['seconds']))} s and try again."
        return _again(request, login, next, told, HTTPStatus.TOO_MANY_REQUESTS)
    token = await run_in_threadpool(session.start, desk, person)
    answer = onward(local_path(next))
    gate.give_cookie(request, answer, token, int(desk.session_lasts.total_seconds()))
    log.info("page_login", peer=peer, login=login)
    return answer


def _again(request: Request, login: str, wanted: str, problem: str, status: HTTPStatus) -> Response:
    return show(request, "login.html", login=login, next=local_path(wanted), problem=problem, status=status)


@pages.post("/logout", access=ANYBODY)
async def logout(request: Request, desk: AtDesk) -> Response:
    """Ends the session, here and in the store."""
    if token := gate.token_of(request):
        await run_in_threadpool(session.end, desk, token)
    answer = onward("/login", "You have signed out.")
    gate.give_cookie(request, answer, "", 0)
    return answer


@pages.post("/theme", access=ANYBODY)
async def choose_theme(
    theme: Annotated[Literal["auto", "light", "dark"], Form()],
    next: NextField = "/",  # noqa: A002 - the field's name in the form
) -> Response:
    """Keeps the theme in this browser."""
    answer = onward(local_path(next))
    answer.set_cookie(THEME_COOKIE, theme, max_age=YEAR, path="/", samesite="lax", httponly=True)
    return answer
