"""Many values in one statement, as one parameter: none has more than 65,535 of them, and each would be parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, any_, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

APART = 16
"""Values of a list up to which each is a parameter of its own: a filter may have 200 lists of 1,000 values, each value
64 forms."""


def one_of(dialect: str, key: ColumnElement[Any], values: Iterable[Any], kind: TypeEngine[Any]) -> ColumnElement[bool]:
    """`key` is one of these numbers or texts of a kind, as a database speaks."""
    if dialect == "postgresql":
        return key == any_(bindparam(None, list(values), ARRAY(kind)))
    return key.in_(select(of_json(values, kind)))


def of_json(values: Iterable[Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """The values as the column of a table, on SQLite."""
    return func.json_each(json.dumps(list(values))).table_valued(column("value", kind)).c.value
