"""What the road asks the store before it begins: the campaign's rules, every owner, the statuses."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from ingestd.errors import Rejected
from ingestd.model import CampaignRules, Owner, Owners
from ingestd.settings import code_key
from ingestd.store import tables

# Built once: building them for each small delivery cost more than running them.
_CAMPAIGN = select(*(tables.campaigns.c[name] for name in CampaignRules.__dataclass_fields__))
_BY_CODE = _CAMPAIGN.where(tables.campaigns.c.code == bindparam("code"), tables.campaigns.c.active)
_STATUSES = select(tables.statuses.c.code, tables.statuses.c.id).where(tables.statuses.c.import_may_set)
_OWNER = tables.owners.c
_OWNERS = {
    kind: select(_OWNER.id, name, _OWNER.ownership_code).join(table, table.c.id == _OWNER.id).where(table.c.active)
    for kind, table, name in (
        ("team", tables.teams, tables.teams.c.key),
        ("user", tables.users, tables.users.c.login),
    )
}


def campaign(connection: Connection, code: str) -> CampaignRules:
    """An active campaign by its code; raises Rejected when there is none."""
    found = connection.execute(_BY_CODE, {"code": code}).mappings().one_or_none()
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
    found = [
        Owner(id=number, kind=kind, name=name, code=code)
        for kind, query in _OWNERS.items()
        for number, name, code in connection.execute(query)
    ]
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
    return dict(connection.execute(_STATUSES).all())


def open_statuses(connection: Connection) -> set[int]:
    """The numbers of the statuses in which a lead may still be called."""
    table = tables.statuses.c
    return set(connection.scalars(select(table.id).where(table.kind == "open")))
