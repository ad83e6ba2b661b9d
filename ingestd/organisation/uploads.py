"""What may be asked for a delivery when it is sent: campaign, default owner, mapping; checked beforehand."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from ingestd.errors import Invalid, Missing
from ingestd.model import UPLOAD, Owners
from ingestd.organisation import mappings
from ingestd.settings import Source, code_key
from ingestd.store import orders, organisation, rules
from ingestd.store.tables import campaigns

SAVED = "source:"
"""Before the name of a source whose saved mapping is to be used."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a sender says; an empty text says nothing."""

    source: str = ""
    campaign: str = ""
    owner: str = ""
    """`team:<key>`, `user:<login>` or `code:<Lead Ownership Code>`"""
    mapping: str = ""
    """a JSON object of header → field, or `source:<name>`"""
    place: str = "query"
    """where these values stand in the request"""


@dataclass(frozen=True, kw_only=True)
class Granted:
    """The same as the delivery will keep it."""

    source: str
    folder: str
    default_owner: str | None
    mapping: str | None
    limit: int
    """bytes that a file may have"""


def grant(connection: Connection, wish: Wish, *, folder: Path) -> Granted:
    """Looks everything up; `folder` holds the schemas. Raises Missing for the source, Invalid for all else.

    Without a source it is an operator's upload, which needs a campaign.
    """
    source = _source(connection, wish)
    campaign = _campaign(connection, wish, source)
    return Granted(
        source=source.name,
        folder=campaign,
        default_owner=_owner(rules.owners(connection), wish) if wish.owner else None,
        mapping=_mapping(connection, wish, campaign or source.campaign, folder) if wish.mapping else None,
        limit=source.limits.max_file_bytes,
    )


def _source(connection: Connection, wish: Wish) -> Source:
    if not wish.source:
        if not wish.campaign:
            told = "name a source; or a campaign, for an upload without one"
            raise Invalid("value_unusable", told, field=f"{wish.place}.source")
        return orders.upload(_active(connection, wish))
    found = _known(connection, wish.source)
    if found is None:
        raise Missing("source_unknown", f"there is no source {wish.source}")
    return found


def _known(connection: Connection, name: str) -> Source | None:
    """A database may not even be asked for what is no text."""
    return organisation.source(connection, name) if name.isprintable() else None


def _campaign(connection: Connection, wish: Wish, source: Source) -> str:
    """The campaign's code; empty when it is the source's own and was not named."""
    if not wish.campaign or source.name == UPLOAD:
        return source.campaign if source.name == UPLOAD else ""
    code = _active(connection, wish)
    if code not in (source.campaign, *source.campaigns):
        told = f"the source {source.name} does not load into {code}; it may into {', '.join(_campaigns_of(source))}"
        raise Invalid("campaign_not_allowed", told, field=f"{wish.place}.campaign")
    return code


def _campaigns_of(source: Source) -> list[str]:
    return sorted({source.campaign, *source.campaigns})


def _active(connection: Connection, wish: Wish) -> str:
    """The code of an active campaign, whatever the capitals."""
    known: Sequence[str] = connection.scalars(select(campaigns.c.code).where(campaigns.c.active)).all()
    for code in known:
        if code.casefold() == wish.campaign.casefold():
            return code
    told = f"there is no active campaign {wish.campaign!r}{meant(wish.campaign, known)}"
    raise Invalid("campaign_unknown", told, field=f"{wish.place}.campaign")


def _owner(owners: Owners, wish: Wish) -> str:
    kind, _, code = wish.owner.partition(":")
    if kind == "code":
        owner = owners.by_code.get(code_key(code))
        known = [f"code:{each.code}" for each in owners.by_code.values()]
    else:
        owner = owners.by_name.get(wish.owner)
        known = list(owners.by_name)
    if owner is None:
        told = f"there is no active owner {wish.owner!r}{meant(wish.owner, known)}"
        told += "; write team:<key>, user:<login> or code:<Lead Ownership Code>"
        raise Invalid("owner_unknown", told, field=f"{wish.place}.owner")
    return f"{owner.kind}:{owner.name}"


def _mapping(connection: Connection, wish: Wish, campaign: str, folder: Path) -> str:
    """As JSON, its fields being those of the campaign; one that was saved counts as it is at this moment."""
    field = f"{wish.place}.mapping"
    if wish.mapping.startswith(SAVED):
        saved = _known(connection, wish.mapping.removeprefix(SAVED))
        if saved is None:
            raise Invalid("mapping_unusable", f"there is no source {wish.mapping.removeprefix(SAVED)!r}", field=field)
        given: Mapping[str, str] = saved.mapping
    else:
        given = mappings.parsed(wish.mapping, field=field)
    return mappings.checked(connection, given, [campaign], folder=folder, field=field)


def meant(word: str, known: Iterable[str]) -> str:
    """The nearest known word as a question; nothing when none is near."""
    spelled = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(word.casefold(), list(spelled), n=1, cutoff=0.6)
    return f"; is {spelled[near[0]]!r} meant?" if near else ""
