"""`config/organisation.toml`: teams, users, projects and campaigns."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from ingestd.settings.frozen import Code, Frozen, Name, exist, unique


class Team(Frozen):
    """`[[team]]`: one node of the team tree; the one without a parent is the top-level team."""

    key: Name = Field(description="how the rest of the configuration names the team")
    name: str = Field(description="the name people see")
    parent: Name | None = Field(None, description="key of the team above; exactly one team has none")
    code: Code | None = Field(
        None, description="Lead Ownership Code; unique over teams and users, compared trimmed and without case"
    )


class User(Frozen):
    """`[[user]]`: sits in exactly one team."""

    login: Name = Field(description="unique name of the user")
    name: str = Field(description="the name people see")
    team: Name = Field(description="key of the team the user sits in")
    role: Literal["agent", "team_leader", "admin"] = Field(
        "agent", description="a named set of permissions: docs/operators.md has them"
    )
    code: Code | None = Field(None, description="Lead Ownership Code, as for teams")


class Project(Frozen):
    """`[[project]]`: what campaigns are grouped by."""

    code: Name = Field(description="unique code of the project")
    name: str = Field(description="the name people see")


def _known_timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("no such time zone; use a name such as Europe/Copenhagen")
    return value


OWNER = r"^(team|user):[A-Za-z0-9._-]+$"


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """In one order, because it means nothing: the same names are the same value."""
    return tuple(sorted(set(names)))


class Campaign(Frozen):
    """`[[campaign]]`: belongs to a project; its rules decide what happens to duplicates and listed numbers."""

    code: Name = Field(description="unique code, without case; partners use it as the name of an upload folder")
    name: str = Field(description="the name people see")
    project: Name = Field(description="code of the project it belongs to")
    template: Name | None = Field(
        None, description="schemas/<template>.toml describes its own fields; without one it has the system fields only"
    )
    region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = Field(
        description="country (ISO 3166-1 alpha-2) of phones and postcodes whose record names none"
    )
    timezone: Annotated[str, AfterValidator(_known_timezone)] = Field(
        "UTC", description="IANA time zone of dates with a time and no offset"
    )
    expires: date | None = Field(
        None, description="last day of the campaign, in its time zone; then its open leads expire"
    )
    max_attempts: int = Field(
        10, ge=1, description="call attempts for one lead; after the last it is closed as Max. Call Attempts"
    )
    access: Annotated[tuple[Annotated[str, Field(pattern=OWNER)], ...], AfterValidator(_each_once)] = Field(
        (),
        description="who may call in it, as `team:<key>` (with the teams below) and `user:<login>`; empty: everybody",
    )
    on_duplicate: Literal["reject", "update", "keep"] = Field(
        "reject", description="a number that is there already: load nothing, update its lead, or load a second lead"
    )
    on_do_not_call: Literal["reject", "close"] = Field(
        "reject", description="a number on a do-not-call list: reject the record, or load it as a closed lead"
    )
    on_invalid_phone: Literal["reject", "close"] = Field(
        "reject", description="an invalid phone: reject the record, or load it as a closed lead"
    )


class Organisation(Frozen):
    """`config/organisation.toml`."""

    team: tuple[Team, ...]
    user: tuple[User, ...] = ()
    project: tuple[Project, ...] = ()
    campaign: tuple[Campaign, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Organisation:
        unique("team key", (t.key for t in self.team))
        unique("user login", (u.login for u in self.user))
        unique("project code", (p.code for p in self.project))
        unique("campaign code", (c.code.casefold() for c in self.campaign))
        unique("Lead Ownership Code", self._codes())
        self._one_tree()
        exist("user.team", (u.team for u in self.user), {t.key for t in self.team})
        owners = {f"team:{t.key}" for t in self.team} | {f"user:{u.login}" for u in self.user}
        exist("campaign.access", (name for c in self.campaign for name in c.access), owners)
        exist("campaign.project", (c.project for c in self.campaign), {p.code for p in self.project})
        return self

    def _codes(self) -> list[str]:
        codes = [team.code for team in self.team] + [user.code for user in self.user]
        return [code_key(code) for code in codes if code]

    def _one_tree(self) -> None:
        parents = {t.key: t.parent for t in self.team}
        tops = [key for key, parent in parents.items() if parent is None]
        if len(tops) != 1:
            raise ValueError(f"exactly one team has no parent; found {len(tops)}: {', '.join(tops) or 'none'}")
        exist("team.parent", (p for p in parents.values() if p), set(parents))
        for key in parents:
            _climb(key, parents)


def code_key(code: str) -> str:
    """The form in which Lead Ownership Codes are compared: trimmed and case-insensitive (LEADS.md)."""
    return code.strip().casefold()


def _climb(key: str, parents: dict[str, str | None]) -> None:
    seen, here = {key}, parents[key]
    while here is not None:
        if here in seen:
            raise ValueError(f"team.parent: {key!r} is above itself")
        seen.add(here)
        here = parents[here]
