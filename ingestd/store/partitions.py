"""Leads lie in one partition a campaign on PostgreSQL; SQLite has one table for all.

A partition is made by the first load into its campaign, and filled before it gets its indexes and becomes part of the
table: building an index over all rows at once takes a third of what adding them one by one does, and rows that nobody
can see yet are written frozen, so that no vacuum has to come back for them. Indexes of what an import leaves empty are
there before the rows: nothing is put into them, and building each would read all rows again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, text

_OF_ALL_ROWS = text(
    "SELECT indexrelid::regclass, conname FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid "
    "WHERE pg_index.indrelid = CAST(:name AS regclass) AND indpred IS NULL"
)
_ATTACHED = text("SELECT relispartition FROM pg_class WHERE oid = to_regclass(:name)")


def name(campaign_id: int) -> str:
    """The table of a campaign's leads."""
    return f"leads_c{campaign_id:d}"


def there(connection: Connection, campaign_id: int) -> bool:
    """True when the campaign has its partition; one that was only begun is none."""
    return _attached(connection, campaign_id) is True


def begin(connection: Connection, campaign_id: int) -> None:
    """Makes the table of a campaign that has none, with no index of all rows; `made` is for filling it.

    Whoever calls keeps others from making the same one: loads into one campaign go one after the other.
    """
    if _attached(connection, campaign_id) is not None:
        return
    table = name(campaign_id)
    like = "LIKE leads INCLUDING DEFAULTS INCLUDING INDEXES"
    connection.exec_driver_sql(f"CREATE TABLE {table} ({like}, {_only(campaign_id)})")
    for index, constraint in connection.execute(_OF_ALL_ROWS, {"name": table}).all():
        drop = f'ALTER TABLE {table} DROP CONSTRAINT "{constraint}"' if constraint else f"DROP INDEX {index}"
        connection.exec_driver_sql(drop)


@contextmanager
def made(connection: Connection, campaign_id: int) -> Iterator[str]:
    """A new partition to be filled in this block, which becomes part of the table of leads when the block ends.

    It may have been begun before, in the same transaction.
    """
    begin(connection, campaign_id)
    table = name(campaign_id)
    yield table
    # Makes the indexes of the table of leads that are missing. The check saves a walk through all rows.
    connection.exec_driver_sql(f"ALTER TABLE leads ATTACH PARTITION {table} FOR VALUES IN ({campaign_id:d})")
    connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT only_this_campaign")


@contextmanager
def filled_in(connection: Connection, table: str, values: Mapping[str, int]) -> Iterator[None]:
    """What the rows of this block have in columns that are not sent: a number that is the same in all of them."""
    if not values:
        yield
        return
    given = ", ".join(f'ALTER "{name}" SET DEFAULT {value:d}' for name, value in values.items())
    connection.exec_driver_sql(f"ALTER TABLE {table} {given}")
    yield
    taken = ", ".join(f'ALTER "{name}" DROP DEFAULT' for name in values)
    connection.exec_driver_sql(f"ALTER TABLE {table} {taken}")


def _attached(connection: Connection, campaign_id: int) -> bool | None:
    """Whether a campaign's table is part of the table of leads; None when there is none."""
    attached: bool | None = connection.scalar(_ATTACHED, {"name": name(campaign_id)})
    return attached


def _only(campaign_id: int) -> str:
    return f"CONSTRAINT only_this_campaign CHECK (campaign_id = {campaign_id:d})"
