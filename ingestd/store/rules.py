"""What the road asks the store before it begins: the campaign's rules, every owner, the statuses."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ingestd.errors import Rejected
from ingestd.model import CampaignRules, Owner, Owners
from ingestd.settings import code_key
from ingestd.store import tables

_CAMPAIGN = select(*(tables.campaigns.c[name] for name in CampaignRules.__dataclass_fields__))


def campaign(connection: Connection, code: str) -> CampaignRules:
    """An active campaign by its code; raises Rejected when there is none."""
    table = tables.campaigns.c
    found = connection.execute(_CAMPAIGN.where(table.code == code, table.active)).mappings().one_or_none()
    if found is None:
        raise Rejected(
            "campaign_unknown",
            f"the campaign {code!r} does not exist or is not active",
            suggestion="ask the operator to activate it or to name another one for this source",
        )
    return CampaignRules(**found)


def campaign_of(connection: Connection, campaign_id: int) -> CampaignRules:
    """A campaign that is there, by its number; it need not be active."""
    found = connection.execute(_CAMPAIGN.where(tables.campaigns.c.id == campaign_id))
    return CampaignRules(**found.mappings().one())


def owners(connection: Connection) -> Owners:
    """Every active team and user with its Lead Ownership Code."""
    found = [*_owners(connection, "team"), *_owners(connection, "user")]
    return Owners(
        by_code={code_key(owner.code): owner for owner in found if owner.code},
        by_name={f"{owner.kind}:{owner.name}": owner for owner in found},
    )


def named_owner(owners: Owners, name: str) -> Owner:
    """An active team or user as `team:<key>` or `user:<login>`; raises Rejected when there is none."""
    if name not in owners.by_name:
        raise Rejected(
            "owner_unknown",
            f"there is no active team or user {name!r}",
            suggestion="write team:<key> or user:<login>; ingestd org show lists them",
        )
    return owners.by_name[name]


def statuses(connection: Connection) -> dict[str, int]:
    """The number of each status that an import may set, by code (LEADS.md)."""
    table = tables.statuses.c
    return dict(connection.execute(select(table.code, table.id).where(table.import_may_set)).all())


def open_statuses(connection: Connection) -> set[int]:
    """The numbers of the statuses in which a lead may still be called."""
    table = tables.statuses.c
    return set(connection.scalars(select(table.id).where(table.kind == "open")))


def _owners(connection: Connection, kind: str) -> list[Owner]:
    table = tables.teams if kind == "team" else tables.users
    name = tables.teams.c.key if kind == "team" else tables.users.c.login
    owner = tables.owners.c
    query = select(owner.id, name, owner.ownership_code).join(table, table.c.id == owner.id).where(table.c.active)
    return [Owner(id=row[0], kind=kind, name=row[1], code=row[2]) for row in connection.execute(query)]
