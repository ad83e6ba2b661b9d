"""`config/sources.toml`: the partner feeds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from ingestd.model import UPLOAD, DialectHints
from ingestd.settings.frozen import Frozen, Name, Share, unique

DEFAULT_LIMIT = 35 * 1024 * 1024
"""bytes a file may have (LEADS.md, Limits)"""
LARGEST_LIMIT = 1024**4
"""bytes; above it a limit is a slip of the pen"""
LONGEST_HOURS = 10 * 365 * 24
"""ten years; above it, too, and a moment so far away cannot be reckoned"""

_KEPT = {"kept": True}
"""The context in which a definition of the store is read."""


def _within(most: int) -> BeforeValidator:
    """What the store has from before there was a bound counts as the bound: one source must not shut out all others."""

    def within(value: Any, info: ValidationInfo) -> Any:
        beyond = info.context is _KEPT and isinstance(value, int | float) and value > most
        return most if beyond else value

    return BeforeValidator(within)


Hours = Annotated[float, Field(gt=0, le=LONGEST_HOURS, allow_inf_nan=False), _within(LONGEST_HOURS)]
Bytes = Annotated[int, Field(ge=1, le=LARGEST_LIMIT), _within(LARGEST_LIMIT)]


def _with_group(value: str, group: str, example: str) -> str:
    try:
        pattern = re.compile(value)
    except re.error as problem:
        raise ValueError(f"is no regular expression: {problem}") from problem
    if group not in pattern.groupindex:
        raise ValueError(f"needs a group named {group}, for example {example}")
    return value


def _names_code(value: str) -> str:
    return _with_group(value, "code", "(?P<code>[A-Z]+-[0-9]+)")


Protocol = Literal["ftp", "ftps", "sftp", "http"]
"""The doors a login can be opened for: `ftp` is without TLS, `ftps` with."""


PUBLIC_KEY = r"^(ssh|ecdsa|sk)-\S+ \S+"
"""As a line of `authorized_keys` begins; options before the key are not known here."""


class Login(Frozen):
    """`[[source.login]]`: one login of a source; the password is kept as an argon2id hash."""

    login: Name = Field(description="unique over all sources")
    password_hash: Annotated[str, Field(pattern=r"^\$argon2id\$")] | None = Field(
        None, description="made by `ingestd source password`; without one the login is by public key only"
    )
    public_keys: tuple[Annotated[str, Field(pattern=PUBLIC_KEY)], ...] = Field(
        (), description="OpenSSH public keys for SFTP, each as in `authorized_keys`"
    )
    protocols: tuple[Protocol, ...] = Field(
        ("ftp", "ftps", "sftp", "http"), description="the doors that are open for the login; `ftp` is without TLS"
    )

    @model_validator(mode="after")
    def _can_log_in(self) -> Login:
        if self.password_hash is None and not self.public_keys:
            raise ValueError(f"login {self.login} has neither password_hash nor public_keys")
        return self


def _counts_rows(value: str) -> str:
    return _with_group(value, "rows", "^TRAILER;(?P<rows>[0-9]+)$")


class Proof(Frozen):
    """`[source.proof]`: how a file proves that it came whole."""

    demand: bool = Field(
        False,
        description="load only files that are proven whole: by TLS, SFTP, an announced size, a companion or a "
        "control total; others wait for their companion",
    )
    wait_hours: Hours = Field(24.0, description="hours a file waits for its companion, and a companion for its file")
    trailer: Annotated[str, AfterValidator(_counts_rows)] | None = Field(
        None,
        description="regular expression with a group `rows` for the last line: the number of records before it; "
        "a file without this line, or with another number of records, is refused",
    )


class DialectSettings(Frozen):
    """`[source.dialect]`: pins what would otherwise be detected."""

    encoding: str | None = Field(None, description="such as utf-8, utf-16 or cp1252")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="the character between two fields"
    )
    quote: Literal['"', "'"] | None = Field(None, description="the character around fields that contain separators")


class SourceLimits(Frozen):
    """`[source.limits]`: what a delivery may be before it is refused as a whole."""

    max_file_bytes: Bytes = Field(
        DEFAULT_LIMIT, description="bytes of one file; a larger one is refused while it arrives"
    )
    max_rejected_rows: int | None = Field(
        None, ge=0, description="with more rejected records, nothing of the file is loaded; no limit when left out"
    )
    max_rejected_share: Share | None = Field(None, description="the same as a share of the records")


class Source(Frozen):
    """`[[source]]`: one partner feed."""

    name: Name = Field(description="unique; also its folder in the drop folder and under homes/")
    title: str = Field(description="what the feed is, for people")
    campaign: Name = Field(description="code of the campaign that its files are loaded into")
    campaigns: tuple[Name, ...] = Field((), description="further campaigns, chosen by an upload folder of that name")
    default_owner: Annotated[str, Field(pattern=r"^(team|user):[A-Za-z0-9._-]+$")] | None = Field(
        None, description="`team:<key>` or `user:<login>`: owner of records without a Lead Ownership Code"
    )
    unknown_code: Literal["reject", "default_owner"] = Field(
        "reject", description="a code nobody has: reject the record, or give it to `default_owner` with a warning"
    )
    code_in_name: Annotated[str, AfterValidator(_names_code)] | None = Field(
        None, description="regular expression with a group `code`, searched in `<folder>/<file name>`"
    )
    dates: Literal["dmy", "mdy"] = Field("dmy", description="how 03/04/2026 is read: 3 April or 4 March")
    same_content: Literal["load", "refuse"] = Field(
        "refuse", description="the bytes of an earlier delivery under another name: load them, or refuse the file"
    )
    on_unmapped: Literal["ignore", "ask"] = Field(
        "ignore",
        description="columns that match no field: ignore them, or hold the file until somebody confirms it; a column "
        "that the mapping ignores is not asked about",
    )
    expected_every_hours: Hours | None = Field(
        None,
        description="hours within which a file comes as a rule; pages warn when the feed is silent for longer",
    )
    login: tuple[Login, ...] = ()
    dialect: DialectSettings = DialectSettings()
    mapping: dict[str, str] = Field({}, description="header = field; an empty field ignores the column")
    limits: SourceLimits = SourceLimits()
    proof: Proof = Proof()

    @classmethod
    def kept(cls, definition: str) -> Source:
        """The source whose definition the store has as JSON."""
        return cls.model_validate_json(definition, context=_KEPT)

    def hints(self) -> DialectHints:
        """What the reader has to know of the source's files."""
        return DialectHints(**self.dialect.model_dump(), trailer=self.proof.trailer)

    @property
    def mapping_version(self) -> str:
        """A short name of the saved mapping's content; empty when there is none."""
        return mapping_digest(self.mapping)


def mapping_digest(mapping: Mapping[str, str]) -> str:
    """A short name of a mapping's content, whatever the order of its columns; empty for none."""
    text = repr(sorted(mapping.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12] if mapping else ""


class Sources(Frozen):
    """`config/sources.toml`."""

    source: Annotated[tuple[Source, ...], Field(min_length=1)]
    """At least one: an empty file is more likely half saved than meant, and would shut every partner out."""

    @model_validator(mode="after")
    def _consistent(self) -> Sources:
        unique("source name", (s.name for s in self.source))
        if any(s.name == UPLOAD for s in self.source):
            raise ValueError(f"no source may be called {UPLOAD}: that is what operators upload without a source")
        unique("login", (login.login for s in self.source for login in s.login))
        return self
