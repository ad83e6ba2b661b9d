"""Who may do what, and who did: passwords, sessions, keys, the audit; and what the configuration owns."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INSTANT = sa.DateTime(timezone=True)

_OF_THE_FILES = (("team", "teams", "key"), ("user", "users", "login"), ("project", "projects", "code"),
                 ("campaign", "campaigns", "code"), ("source", "sources", "name"))  # fmt: skip


def upgrade() -> None:
    """Makes the tables; whatever is in the organisation so far came from the configuration."""
    _people()
    _keys()
    _audit()
    _versions()
    for kind, table, key in _OF_THE_FILES:
        op.execute(f"INSERT INTO applied (kind, key, facts) SELECT '{kind}', {key}, '{{}}' FROM {table}")  # noqa: S608 - names above
    first = sa.text(
        "INSERT INTO source_versions (source_id, version, definition, saved_at, saved_by)"
        " SELECT id, 1, definition, :at, 'configuration' FROM sources"
    )
    op.execute(first.bindparams(sa.bindparam("at", datetime.now(UTC), _INSTANT)))


def _people() -> None:
    op.create_table(
        "user_passwords",
        _user(),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("changed_at", _INSTANT, nullable=False),
        _to_users("user_passwords"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_passwords")),
    )
    op.create_table(
        "user_permissions",
        _user(),
        sa.Column("permission", sa.String(length=32), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        _to_users("user_permissions"),
        sa.PrimaryKeyConstraint("user_id", "permission", name=op.f("pk_user_permissions")),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        _user(),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        _to_users("sessions"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("user_id", _NUMBER, nullable=True),
        sa.Column("source", sa.String(length=64), nullable=True),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("last_used_at", _INSTANT, nullable=True),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        _to_users("api_keys"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("user_id", _NUMBER, nullable=True),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_subject_id"), "audit", ["subject", "id"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            told = "SELECT RAISE(ABORT, 'the audit is append only')"
            op.execute(f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit BEGIN {told}; END")
        return
    op.execute(
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the audit is append only'; END $$"
    )
    # For each statement, so that TRUNCATE is refused as well.
    op.execute(
        "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
    )


def _versions() -> None:
    op.create_table(
        "applied",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_applied")),
    )
    op.create_table(
        "source_versions",
        sa.Column("source_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("saved_at", _INSTANT, nullable=False),
        sa.Column("saved_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_source_versions_source_id_sources")),
        sa.PrimaryKeyConstraint("source_id", "version", name=op.f("pk_source_versions")),
    )


def _user() -> sa.Column[int]:
    return sa.Column("user_id", _NUMBER, autoincrement=False, nullable=False)


def _to_users(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"))
