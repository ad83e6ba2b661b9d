"""Alembic migrations. `upgrade` brings a database of any age to the tables of this version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from ingestd.errors import Damaged, Misconfigured
from ingestd.store.engine import reading, take_turn, writing


def upgrade(engine: Engine) -> None:
    """Applies every missing migration in one transaction; of several processes that start at once, one does it.

    Raises Misconfigured for a database that cannot be brought up, as `check` does.
    """
    config = configured()
    known = ScriptDirectory.from_config(config)
    if _revision(engine, known) == known.get_current_head():
        return
    with writing(engine) as connection:
        take_turn(connection, "migration")  # whoever waited finds nothing left to do
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(engine: Engine) -> None:
    """Raises Misconfigured for a database that is damaged, or that a newer version made; Unavailable."""
    _revision(engine, ScriptDirectory.from_config(configured()))


def configured() -> Config:
    """Where Alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def knows(revision: str) -> bool:
    """Whether a database at this migration can be brought up by this version."""
    return _knows(ScriptDirectory.from_config(configured()), revision)


def _knows(known: ScriptDirectory, revision: str) -> bool:
    return any(each.revision == revision for each in known.walk_revisions())


def _revision(engine: Engine, known: ScriptDirectory) -> str | None:
    """The migration that a database is at; None when it is empty."""
    place = engine.url.database or "store.url"
    try:
        with reading(engine) as connection:  # looking does not wait for a load that is writing
            found = MigrationContext.configure(connection).get_current_revision()
    except Damaged as problem:
        raise Misconfigured(place, "store", f"{problem}; restore a backup") from problem
    if found is not None and not _knows(known, found):
        told = f"was made by a newer ingestd, with migration {found}; this one knows {known.get_current_head()}"
        raise Misconfigured(place, "store", f"{told}; use that version or a later one")
    return found
