"""Ownership: which team or user owns each record, most specific first (LEADS.md, "Owner at upload").

1. the record's Lead Ownership Code, 2. a code in the file's name or folder, 3. the source's default owner. An
unknown code is never guessed: it is an error with the nearest known code as suggestion, or a warning where the
source says so.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import polars as pl

from ingestd.errors import Rejected
from ingestd.ingest import problems
from ingestd.ingest.lookup import looked_up, repeated
from ingestd.model import Delivery, Owner, Owners, Severity, Stage
from ingestd.settings import Source, code_key

SUGGESTED = 200
"""Unknown codes of one file that get a suggestion of their own: with 3,000 known codes each costs 6 ms."""

ASK = "ask the operator for the codes of your source"
"""What partners can do about a code that is like none."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a source says about owners."""

    default: Owner | None
    unknown_to_default: bool


def policy(source: Source, owners: Owners) -> Policy:
    """What holds for a delivery of a source, the owner of which may be one that its sender named.

    Raises Rejected when that one is not active any more: nobody is guessed in its place.
    """
    default = None
    if source.default_owner is not None:
        default = owners.by_name.get(source.default_owner)
        if default is None:
            raise Rejected(
                "owner_unknown",
                f"the owner {source.default_owner} of this delivery is no active team or user",
                suggestion="send it once more with another owner",
            )
    return Policy(default=default, unknown_to_default=source.unknown_code == "default_owner")


def of_file(source: Source, delivery: Delivery, owners: Owners, policy: Policy) -> Owner | None:
    """The owner whom a delivery's folder and name tell of; raises Rejected as `from_name` does."""
    path = f"{delivery.folder}/{delivery.name}".lstrip("/")
    return from_name(source.code_in_name, path, owners, policy)


def from_name(pattern: str | None, path: str, owners: Owners, policy: Policy) -> Owner | None:
    """The owner whose code the file's folder and name carry, if they do.

    Raises Rejected when that code is unknown, unless the source says that such leads go to its default owner.
    """
    found = re.search(pattern, path) if pattern else None
    code = found["code"] if found else None
    if not code:  # a pattern may make its group optional
        return None
    owner = owners.by_code.get(code_key(code))
    if owner is None and policy.unknown_to_default:
        return policy.default
    if owner is None:
        raise Rejected(
            "ownership_code_unknown",
            f"the Lead Ownership Code {code!r} in the file's name {path!r} belongs to no team or user",
            suggestion=_suggestion(code, owners),
        )
    return owner


def resolve(
    frame: pl.DataFrame, column: str, owners: Owners, policy: Policy, named: Owner | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adds `owner_id` (null where nobody owns the record) and returns it with the problems found.

    `frame` has `row` and may have `ownership_code`; `column` is that field's header, for the messages.
    """
    fallback = named or policy.default
    default = repeated(fallback.id if fallback else None, frame.height, pl.Int64)
    if "ownership_code" not in frame.columns:
        owned = frame.with_columns(default.alias("owner_id"))
        return owned, _ownerless(owned, column)
    given = frame["ownership_code"]
    codes = [code for code in given.unique() if code]
    known = {code: owner.id for code in codes if (owner := owners.by_code.get(code_key(code)))}
    unknown = [code for code in codes if code not in known]
    lenient = policy.unknown_to_default and policy.default is not None
    if lenient:
        assert policy.default is not None
        known |= dict.fromkeys(unknown, policy.default.id)
    ids = looked_up(given, known, pl.Int64)
    if given.has_nulls():
        ids = ids.zip_with(given.is_not_null(), default)
    owned = frame.with_columns(ids.alias("owner_id"))
    found = [_ownerless(owned.filter(given.is_null()), column)] if given.has_nulls() else []
    if unknown:
        found.append(_unknown(frame, unknown, column, owners, Severity.WARNING if lenient else Severity.ERROR))
    return owned, problems.gather(found)


def _ownerless(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    return problems.found(
        frame.filter(pl.col("owner_id").is_null()),
        stage=Stage.OWNERSHIP,
        code="owner_missing",
        column=column,
        field="ownership_code",
        message="no Lead Ownership Code, and the source has no default owner",
        suggestion="give the record a Lead Ownership Code",
    )


def _unknown(frame: pl.DataFrame, codes: list[str], column: str, owners: Owners, severity: Severity) -> pl.DataFrame:
    hints = {code: _suggestion(code, owners) for code in sorted(codes)[:SUGGESTED]}
    code = pl.col("ownership_code")
    taken = "; loaded to the source's default owner" if severity is Severity.WARNING else ""
    return problems.found(
        frame.filter(code.is_in(codes)),
        stage=Stage.OWNERSHIP,
        code="ownership_code_unknown",
        severity=severity,
        column=column,
        field="ownership_code",
        value=code,
        message=pl.format("the Lead Ownership Code {} belongs to no team or user" + taken, code),
        suggestion=code.replace_strict(hints, default=ASK, return_dtype=pl.String),
    )


def _suggestion(code: str, owners: Owners) -> str:
    near = difflib.get_close_matches(code_key(code), list(owners.by_code), n=1, cutoff=0.6)
    if near:
        return f"is {owners.by_code[near[0]].code!r} meant?"
    return ASK
