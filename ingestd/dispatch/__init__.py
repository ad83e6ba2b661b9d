"""Dispatch: who processes which delivery, and when. The ledger says whether it was done."""

from __future__ import annotations

import socket
from datetime import timedelta

from sqlalchemy import Engine

from ingestd.dispatch.dispatcher import Dispatcher
from ingestd.dispatch.local import LocalDispatcher
from ingestd.dispatch.postgres import PostgresDispatcher


def of(
    engine: Engine,
    *,
    node: str = "",
    worker: str = "",
    retry: timedelta = timedelta(seconds=2),
    dead: timedelta = timedelta(seconds=12),
) -> Dispatcher:
    """The dispatcher for a kind of database: SQLite belongs to one machine, PostgreSQL to any number.

    `node` is the name of this machine, by default its host name; `worker` a name that is unique on it, empty for who
    takes no deliveries; `retry` the first pause before another attempt; `dead` how long a worker of PostgreSQL may be
    silent until its delivery is taken over.
    """
    if engine.dialect.name == "postgresql":
        node = node or socket.gethostname()
        return PostgresDispatcher(engine=engine, node=node, worker=worker, retry=retry, dead=dead)
    return LocalDispatcher(engine=engine, worker=worker, retry=retry)
