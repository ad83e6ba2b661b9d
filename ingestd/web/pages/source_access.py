"""By what a partner comes in: the logins of a source, whose new passwords are shown once, and its keys."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Form, Request, Response
from pydantic import BaseModel

from ingestd.access import keys
from ingestd.access.callers import Caller
from ingestd.access.permissions import Permission, check_may_give
from ingestd.accounts import hash_password
from ingestd.errors import Conflict, Missing, Refused
from ingestd.organisation import changes, sources
from ingestd.store.engine import reading, writing
from ingestd.web.api.desk import AtDesk, ByCaller, Desk
from ingestd.web.api.keys import expiry
from ingestd.web.api.sources import MANAGING
from ingestd.web.pages.filled import Said, Text, Word, key_of, whole
from ingestd.web.pages.rendering import onward
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.sources import source_page
from ingestd.web.pages.user_access import LONGEST_DAYS

pages = Pages()


class LoginForm(BaseModel):
    """A login as it was typed."""

    login: Word = ""
    doors: list[Word] = []
    public_keys: Text = ""
    password: Literal["new", "keep", "none"] = "new"  # noqa: S105 - a choice of the form

    @property
    def public(self) -> tuple[str, ...]:
        """OpenSSH public keys, one a line."""
        return tuple(line.strip() for line in self.public_keys.splitlines() if line.strip())


@pages.post("/sources/{name}/logins", access=MANAGING)
def add_login(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, form: Annotated[LoginForm, Form()]
) -> Response:
    """Makes a login, and shows its password once."""
    try:
        login = key_of(form.login, "login")
        if login in _logins(desk, name):
            raise Conflict("exists", f"the source has a login {login!r} already; change that one", field="login")
        password = _set(desk, caller, name, login, form, kept=None)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    return _shown(request, desk, name, login, password)


@pages.post("/sources/{name}/logins/{login}", access=MANAGING)
def edit_login(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, login: str, form: Annotated[LoginForm, Form()]
) -> Response:
    """Gives a login other doors and keys, or another password."""
    try:
        known = _logins(desk, name)
        if login not in known:
            raise Missing("login_unknown", f"the source {name} has no login {login!r}")
        kept = known[login] if form.password == "keep" else None  # noqa: S105 - a choice of the form
        password = _set(desk, caller, name, login, form, kept=kept)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    return _shown(request, desk, name, login, password)


@pages.post("/sources/{name}/logins/{login}/password", access=MANAGING)
def new_password(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, login: str, said: Annotated[Said, Form()]
) -> Response:
    """Gives a login a random password in place of the one it has, and shows it once; doors and keys stay."""
    password = sources.new_password()
    try:
        encoded = desk.hashing.submit(hash_password, password, desk.cost).result()
        with writing(desk.engine) as connection:
            sources.set_password(connection, caller.deed(desk.clock(), said.reason), name, login, encoded)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    return _shown(request, desk, name, login, password)


@pages.post("/sources/{name}/logins/{login}/remove", access=MANAGING)
def remove_login(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, login: str, said: Annotated[Said, Form()]
) -> Response:
    """Shuts a login out."""
    try:
        with writing(desk.engine) as connection:
            sources.remove_login(connection, caller.deed(desk.clock(), said.reason), name, login)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    return onward(f"/sources/{name}", f"The login {login} is removed; the doors refuse it within a second.")


@pages.post("/sources/{name}/keys", access=MANAGING)
def add_key(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    name: str,
    label: Annotated[str, Form(max_length=200)] = "",
    days: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Makes a key with which a partner's programs import for this source, and shows it once."""
    try:
        ends, deed = whole(days, "days"), caller.deed(desk.clock())
        ends = None if ends is None else min(max(ends, 0), LONGEST_DAYS)
        check_may_give(caller.permissions, keys.PARTNERS)
        with writing(desk.engine) as connection:
            ends_at = expiry(deed.at, ends)
            issued = keys.issue(connection, deed, label, keys.PARTNERS, source=name, expires_at=ends_at)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    return source_page(request, desk, name, issued=issued)


@pages.post("/sources/{name}/keys/{number}/revoke", access=MANAGING)
def revoke_key(request: Request, desk: AtDesk, caller: ByCaller, name: str, number: str) -> Response:
    """Ends a key of this source for good; that of a user only with `manage_organisation`."""
    try:
        with writing(desk.engine) as connection:
            key = keys.known(connection, number)
            others = key.user_id is not None and Permission.MANAGE_ORGANISATION not in caller.permissions
            if key.source != name or others:
                raise Missing("key_unknown", f"there is no key {number!r} of this source")
            keys.revoke(connection, caller.deed(desk.clock()), key)
    except Refused as problem:
        return source_page(request, desk, name, problem=problem)
    return onward(f"/sources/{name}", "The key is revoked; nobody comes in with it any more.")


def _logins(desk: Desk, name: str) -> dict[str, str | None]:
    """Login → the hash of its password."""
    with reading(desk.engine) as connection:
        source = changes.get(connection, "source", name)
    return {each["login"]: each["password_hash"] for each in source.facts["login"]}


def _set(desk: Desk, caller: Caller, name: str, login: str, form: LoginForm, *, kept: str | None) -> str | None:
    """Writes a login; its new password, or None when it has none that is new."""
    password = sources.new_password() if form.password == "new" else None  # noqa: S105 - a choice of the form
    encoded = desk.hashing.submit(hash_password, password, desk.cost).result() if password else kept
    deed, doors = caller.deed(desk.clock()), tuple(form.doors)
    with writing(desk.engine) as connection:
        public = form.public
        sources.add_login(connection, deed, name, login, encoded=encoded, public_keys=public, protocols=doors)
    return password


def _shown(request: Request, desk: Desk, name: str, login: str, password: str | None) -> Response:
    if password is None:
        return onward(f"/sources/{name}", f"The login {login} is saved.")
    return source_page(request, desk, name, password=(login, password))
