"""Alembic migrations. `upgrade` brings a database of any age to the tables of this version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from ingestd.store.engine import reading, take_turn, writing


def upgrade(engine: Engine) -> None:
    """Applies every missing migration in one transaction; of several processes that start at once, one does it."""
    config = configured()
    with reading(engine) as connection:  # looking does not wait for a load that is writing
        if MigrationContext.configure(connection).get_current_revision() == _newest(config):
            return
    with writing(engine) as connection:
        take_turn(connection, "migration")  # whoever waited finds nothing left to do
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def configured() -> Config:
    """Where Alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _newest(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def knows(revision: str) -> bool:
    """Whether a database at this migration can be brought up by this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return any(each.revision == revision for each in ScriptDirectory.from_config(config).walk_revisions())
