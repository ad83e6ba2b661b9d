"""Whether an organisation holds together: one tree, and nothing active that hangs on what is not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ingestd.model import UPLOAD
from ingestd.settings import code_key
from ingestd.store.facts import Facts, World


def problems(world: World) -> list[str]:
    """Everything that does not fit, as sentences; nothing when all of it does."""
    return [*_tree(world["team"]), *_users(world), *_codes(world), *_campaigns(world), *_sources(world)]


def same_code(one: str, other: str) -> bool:
    """Whether two Lead Ownership Codes are the same: trimmed, and whatever their capitals."""
    return code_key(one) == code_key(other)


def above(teams: Mapping[str, Facts], key: str) -> list[str]:
    """The teams above a team, the nearest first; ends where a circle would begin anew."""
    found: list[str] = []
    here = teams[key]["parent"]
    while here is not None and here not in found:
        found.append(here)
        here = teams[here]["parent"]
    return found


def _tree(teams: Mapping[str, Facts]) -> Iterator[str]:
    tops = sorted(key for key, team in teams.items() if team["active"] and team["parent"] is None)
    if len(tops) != 1:
        yield f"exactly one active team has no parent; found {len(tops)}: {', '.join(tops) or 'none'}"
    for key, team in sorted(teams.items()):
        if key in above(teams, key):
            yield f"team {key} is above itself"
        if team["active"] and team["parent"] is not None and not teams[team["parent"]]["active"]:
            yield f"team {key} is active, but the team above it, {team['parent']}, is not"


def _users(world: World) -> Iterator[str]:
    for login, user in sorted(world["user"].items()):
        if user["active"] and not world["team"][user["team"]]["active"]:
            yield f"user {login} is active, but the team {user['team']} is not"


def _codes(world: World) -> Iterator[str]:
    named = [
        (code_key(each["code"]), each["code"])
        for kind in ("team", "user")
        for each in world[kind].values()
        if each["code"]
    ]
    counts = Counter(key for key, _ in named)
    for key, code in sorted(named):
        if counts.pop(key, 1) > 1:
            yield f"the Lead Ownership Code {code} is used twice"


def _campaigns(world: World) -> Iterator[str]:
    counts = Counter(code.casefold() for code in world["campaign"])
    for code in sorted(world["campaign"]):
        if counts.pop(code.casefold(), 1) > 1:
            yield f"the campaign code {code} is used twice; capitals do not count"
    for code, campaign in sorted(world["campaign"].items()):
        for name in campaign["access"]:
            if not is_owner(world, name):
                yield f"campaign {code} is open to {name}, which is not there"


def is_owner(world: World, name: str) -> bool:
    """Whether there is such a `team:<key>` or `user:<login>`, active or not."""
    kind, _, key = name.partition(":")
    return key in (world["team"] if kind == "team" else world["user"])


def _sources(world: World) -> Iterator[str]:
    logins = Counter(
        login["login"] for source in world["source"].values() if source["active"] for login in source["login"]
    )
    yield from (f"the login {login} is used twice" for login, count in sorted(logins.items()) if count > 1)
    for name, source in sorted(world["source"].items()):
        if source["active"]:
            if name == UPLOAD:
                yield f"no source may be called {UPLOAD}: that is what operators upload without a source"
            yield from _source(world, name, source)


def _source(world: World, name: str, source: Facts) -> Iterator[str]:
    for code in (source["campaign"], *source["campaigns"]):
        if not world["campaign"].get(code, {}).get("active"):
            yield f"source {name} loads into the campaign {code}, which is not there or not active"
    if source["default_owner"]:
        kind, _, key = source["default_owner"].partition(":")
        if not world[kind].get(key, {}).get("active"):
            yield f"source {name} gives leads to {source['default_owner']}, which is not there or not active"
    elif source["unknown_code"] == "default_owner":
        yield f"source {name} gives unknown codes to its default owner, but names none"
