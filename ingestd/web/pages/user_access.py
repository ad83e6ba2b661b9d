"""What a user may do and comes in by: permissions with their exceptions, the password, API keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response
from pydantic import BaseModel

from ingestd.access import keys, people
from ingestd.access.people import LONGEST_PASSWORD
from ingestd.access.permissions import Permission, check_may_give, permission_named
from ingestd.accounts import hash_password
from ingestd.errors import Denied, Missing, Refused
from ingestd.organisation import users
from ingestd.store.engine import reading, writing
from ingestd.web.api.desk import AtDesk, ByCaller
from ingestd.web.api.keys import expiry
from ingestd.web.api.teams import LOOKING, MANAGING
from ingestd.web.pages.filled import Why, Word, whole
from ingestd.web.pages.rendering import onward
from ingestd.web.pages.routes import Pages
from ingestd.web.pages.users import user_page

pages = Pages()

LONGEST_DAYS = 3650


class PermissionsForm(BaseModel):
    """The boxes that are ticked."""

    may: list[Word] = []
    cause: Why = ""


class KeyForm(BaseModel):
    """A key to be made."""

    label: Word = ""
    can: list[Word] = []
    source: Word = ""
    days: Word = ""


@pages.post("/organisation/users/{name}/permissions", access=MANAGING)
def set_permissions(
    request: Request, desk: AtDesk, caller: ByCaller, name: str, form: Annotated[PermissionsForm, Form()]
) -> Response:
    """Grants what is ticked and revokes the rest; what the role says already is no exception."""
    deed, mine = caller.deed(desk.clock(), form.cause), caller.permissions
    try:
        wanted = {permission_named(word) for word in form.may}
        with writing(desk.engine) as connection:
            before = people.known(connection, name).permissions
            for permission in sorted(before ^ wanted):
                users.allow(connection, deed, name, permission, granted=permission in wanted, mine=mine)
    except Refused as problem:
        return user_page(request, desk, caller, name, problem=problem)
    return onward(f"/organisation/users/{name}", "The permissions are saved.")


@pages.post("/organisation/users/{name}/password", access=MANAGING)
def set_password(
    request: Request,
    desk: AtDesk,
    caller: ByCaller,
    name: str,
    password: Annotated[str, Form(max_length=LONGEST_PASSWORD)] = "",
) -> Response:
    """Gives a user another password, and ends the user's sessions."""
    try:
        with reading(desk.engine) as connection:
            check_may_give(caller.permissions, people.known(connection, name).permissions)
        people.check_password(password)
        encoded = desk.hashing.submit(hash_password, password, desk.cost).result()
        with writing(desk.engine) as connection:
            users.set_password(connection, caller.deed(desk.clock()), name, encoded, mine=caller.permissions)
    except Refused as problem:
        return user_page(request, desk, caller, name, problem=problem)
    return onward(f"/organisation/users/{name}", "The password is set, and the user is signed out everywhere.")


@pages.post("/organisation/users/{name}/keys", access=LOOKING)
def add_key(request: Request, desk: AtDesk, caller: ByCaller, name: str, form: Annotated[KeyForm, Form()]) -> Response:
    """Makes a key of one's own, and shows it once. Nobody makes one with which another user would be taken for it."""
    try:
        can = _wanted(form, caller.permissions)
        with writing(desk.engine) as connection:
            known = people.known(connection, name)
            if caller.person is None or caller.person.id != known.id:
                raise Denied("not_yours", "keys are made by those who use them; sign in as this user")
            deed, source = caller.deed(desk.clock()), form.source or None
            ends = expiry(deed.at, _days(form.days))
            issued = keys.issue(connection, deed, form.label, can, user_id=known.id, source=source, expires_at=ends)
    except Refused as problem:
        return user_page(request, desk, caller, name, problem=problem)
    return user_page(request, desk, caller, name, issued=issued)


@pages.post("/organisation/users/{name}/keys/{number}/revoke", access=LOOKING)
def revoke_key(request: Request, desk: AtDesk, caller: ByCaller, name: str, number: str) -> Response:
    """Ends a key for good: one's own, or with `manage_organisation` that of any user."""
    try:
        with writing(desk.engine) as connection:
            known, key = people.known(connection, name), keys.known(connection, number)
            mine = caller.person is not None and caller.person.id == known.id
            if key.user_id != known.id or not (mine or Permission.MANAGE_ORGANISATION in caller.permissions):
                raise Missing("key_unknown", f"there is no key {number!r} of this user")
            keys.revoke(connection, caller.deed(desk.clock()), key)
    except Refused as problem:
        return user_page(request, desk, caller, name, problem=problem)
    return onward(f"/organisation/users/{name}", "The key is revoked; nobody comes in with it any more.")


def _wanted(form: KeyForm, mine: frozenset[Permission]) -> set[Permission]:
    wanted = {permission_named(word) for word in form.can}
    check_may_give(mine, wanted)
    return wanted


def _days(text: str) -> int | None:
    """Days until a key ends; raises Invalid."""
    found = whole(text, "days")
    return None if found is None else min(max(found, 0), LONGEST_DAYS)
