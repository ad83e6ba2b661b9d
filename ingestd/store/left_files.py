"""Files that were taken from the drop folder and left where they are, so that no restart takes them again."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from sqlalchemy import Engine, delete, insert, select

from ingestd.store.engine import reading, writing
from ingestd.store.ledger import Clock, now
from ingestd.store.tables import folder_files

_AT_ONCE = 500
"""paths in one statement; databases take a limited number of values"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftFiles:
    """What is known of them in one store. Everything raises Unavailable when it is away."""

    engine: Engine
    clock: Clock = now

    def known(self, source: str) -> dict[str, str]:
        """Path and mark of every file of a source that was taken."""
        table = folder_files.c
        with reading(self.engine) as connection:
            return dict(connection.execute(select(table.path, table.mark).where(table.source == source)).all())

    def remember(self, source: str, path: str, mark: str, delivery_id: int | None) -> None:
        """A file was taken as it is now; `delivery_id` is None when it became no delivery."""
        table = folder_files.c
        values = {"source": source, "path": path, "mark": mark, "delivery_id": delivery_id, "taken_at": self.clock()}
        with writing(self.engine) as connection:
            connection.execute(delete(folder_files).where(table.source == source, table.path == path))
            connection.execute(insert(folder_files).values(values))

    def forget(self, source: str, paths: Collection[str]) -> None:
        """These files are gone."""
        table, gone = folder_files.c, list(paths)
        with writing(self.engine) as connection:
            for start in range(0, len(gone), _AT_ONCE):
                some = table.path.in_(gone[start : start + _AT_ONCE])
                connection.execute(delete(folder_files).where(table.source == source, some))
