"""Tables of counts to which rows are only ever added, so that those who count never wait for each other.

Now and then the rows of one kind are put together into one. A count is the sum of its rows, whenever one looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
)

ENOUGH = 64
"""Rows from which they are put together; fewer are added quicker than they are rewritten."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A table of counts, with a number of its own in `id`."""

    table: Table
    kinds: tuple[str, ...]
    """columns that say what is counted"""
    figures: tuple[str, ...]
    """columns that are summed"""

    def sums(self, rows: FromClause | None = None) -> Select[Any]:
        """Each kind with its sums; those that add up to nothing are left out."""
        of = self.table if rows is None else rows
        kinds = [of.c[name] for name in self.kinds]
        # PostgreSQL makes a sum of bigint a numeric.
        sums = [cast(func.sum(of.c[name]), BigInteger).label(name) for name in self.figures]
        left = or_(*(func.sum(of.c[name]) != 0 for name in self.figures))
        return select(*kinds, *sums).group_by(*kinds).having(left)

    def crowded(self, connection: Connection, *kinds: str, most: int) -> Sequence[Any]:
        """Rows of these kinds of which there are so many that they had better be put together; `most` at once."""
        by = [self.table.c[name] for name in kinds]
        return connection.execute(select(*by).group_by(*by).having(func.count() > ENOUGH).limit(most)).all()

    def put_together(self, connection: Connection, these: ColumnElement[bool]) -> None:
        """Puts the sums of these rows in their place. What is counted meanwhile adds its rows beside them."""
        columns: Sequence[str] = (*self.kinds, *self.figures)
        if connection.dialect.name == "postgresql":
            # One statement: only the rows that it deletes are summed, whatever others commit meanwhile.
            gone = delete(self.table).where(these).returning(*self.table.c).cte("gone")
            connection.execute(insert(self.table).from_select(columns, self.sums(gone)))
            return
        last = connection.scalar(select(func.max(self.table.c.id)))  # SQLite has one writer, which is this one
        connection.execute(insert(self.table).from_select(columns, self.sums().where(these)))
        connection.execute(delete(self.table).where(these, self.table.c.id <= last))
