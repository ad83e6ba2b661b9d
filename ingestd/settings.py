"""What operators write in `config/*.toml`, read once into frozen types.

Errors name the file, the key and the value. Values of `ingestd.toml` can be overridden by the environment:
`INGESTD_FTP__PORT=0` sets `port` under `[ftp]`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ingestd.errors import Misconfigured
from ingestd.model import DialectHints

DEFAULT_LIMIT = 35 * 1024 * 1024
"""bytes a file may have (LEADS.md, Limits)"""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Code = Annotated[str, Field(max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A part of the configuration: unchangeable, and unknown keys are an error, because a misspelt key is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(Frozen):
    """`[store]`: where leads and the ledger live."""

    url: str = Field("", description="SQLAlchemy URL; empty: SQLite in the home folder")


class FtpSettings(Frozen):
    """`[ftp]`: the FTP door."""

    enabled: bool = Field(True, description="open the FTP door")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(2121, ge=0, le=65535, description="port to listen on; 0: any free one")
    passive_ports: tuple[int, int] | None = Field(None, description="first and last port for data connections")
    masquerade: str | None = Field(None, description="address told to clients behind a NAT")
    max_connections: int = Field(1100, ge=1, description="sessions at once")
    max_per_ip: int = Field(0, ge=0, description="sessions at once from one address; 0: no limit")
    idle_seconds: int = Field(300, ge=1, description="seconds without a command after which a session is closed")


class FolderSettings(Frozen):
    """`[folder]`: the watched drop folder."""

    enabled: bool = Field(True, description="watch the drop folder")
    path: str = Field("drop", description="the folder, relative to the home; one subfolder a source")
    scan_seconds: float = Field(1.0, gt=0, description="seconds between two scans; the scan is the truth")
    quiet_seconds: float = Field(2.0, ge=0, description="seconds without a change after which a file counts as whole")


class WorkerSettings(Frozen):
    """`[worker]`: the processes that load deliveries."""

    processes: int = Field(1, ge=1, le=64, description="loading processes")
    max_attempts: int = Field(5, ge=1, description="attempts before a delivery becomes a dead letter")
    retry_seconds: float = Field(2.0, ge=0, description="first pause before another attempt; it doubles each time")


class ResultSettings(Frozen):
    """`[results]`: what comes back to the partner."""

    keep_days: int = Field(30, ge=1, description="days that results stay in `results/`")


class DaemonSettings(BaseSettings):
    """`config/ingestd.toml`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="INGESTD_", env_nested_delimiter="__", env_ignore_empty=True
    )

    store: StoreSettings = StoreSettings()
    ftp: FtpSettings = FtpSettings()
    folder: FolderSettings = FolderSettings()
    worker: WorkerSettings = WorkerSettings()
    results: ResultSettings = ResultSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which is passed in as `init_settings`."""
        return env_settings, init_settings


class Team(Frozen):
    """`[[team]]`: one node of the team tree; the one without a parent is the top-level team."""

    key: Name = Field(description="how the rest of the configuration names the team")
    name: str = Field(description="the name people see")
    parent: Name | None = Field(None, description="key of the team above; exactly one team has none")
    code: Code | None = Field(
        None, description="Lead Ownership Code; unique over teams and users, compared trimmed and without case"
    )


class User(Frozen):
    """`[[user]]`: sits in exactly one team."""

    login: Name = Field(description="unique name of the user")
    name: str = Field(description="the name people see")
    team: Name = Field(description="key of the team the user sits in")
    role: Literal["agent", "team_leader", "admin"] = Field(
        "agent", description="kept for the permissions of a later version"
    )
    code: Code | None = Field(None, description="Lead Ownership Code, as for teams")


class Project(Frozen):
    """`[[project]]`: what campaigns are grouped by."""

    code: Name = Field(description="unique code of the project")
    name: str = Field(description="the name people see")


def _known_timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("no such time zone; use a name such as Europe/Copenhagen")
    return value


class Campaign(Frozen):
    """`[[campaign]]`: belongs to a project; its rules decide what happens to duplicates and listed numbers."""

    code: Name = Field(description="unique code, without case; partners use it as the name of an upload folder")
    name: str = Field(description="the name people see")
    project: Name = Field(description="code of the project it belongs to")
    template: Name | None = Field(
        None, description="schemas/<template>.toml describes its own fields; without one it has the system fields only"
    )
    region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = Field(
        description="country (ISO 3166-1 alpha-2) of phones and postcodes whose record names none"
    )
    timezone: Annotated[str, AfterValidator(_known_timezone)] = Field(
        "UTC", description="IANA time zone of dates with a time and no offset"
    )
    expires: date | None = Field(None, description="last day of the campaign; kept, nothing acts on it yet")
    max_attempts: int = Field(10, ge=1, description="call attempts for one lead; kept, nothing acts on it yet")
    on_duplicate: Literal["reject", "update", "keep"] = Field(
        "reject", description="a number that is there already: load nothing, update its lead, or load a second lead"
    )
    on_do_not_call: Literal["reject", "close"] = Field(
        "reject", description="a number on a do-not-call list: reject the record, or load it as a closed lead"
    )
    on_invalid_phone: Literal["reject", "close"] = Field(
        "reject", description="an invalid phone: reject the record, or load it as a closed lead"
    )


class Login(Frozen):
    """`[[source.login]]`: one login of a source; the password is kept as an argon2id hash."""

    login: Name = Field(description="unique over all sources")
    password_hash: Annotated[str, Field(pattern=r"^\$argon2id\$")] = Field(
        description="made by `ingestd source password`; the password itself is kept nowhere"
    )


class DialectSettings(Frozen):
    """`[source.dialect]`: pins what would otherwise be detected."""

    encoding: str | None = Field(None, description="such as utf-8, utf-16 or cp1252")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description="the character between two fields"
    )
    quote: Literal['"', "'"] | None = Field(None, description="the character around fields that contain separators")

    def hints(self) -> DialectHints:
        """The same as the reader takes it."""
        return DialectHints(encoding=self.encoding, delimiter=self.delimiter, quote=self.quote)


class SourceLimits(Frozen):
    """`[source.limits]`: what a delivery may be before it is refused as a whole."""

    max_file_bytes: int = Field(
        DEFAULT_LIMIT, ge=1, description="bytes of one file; a larger one is refused while it arrives"
    )
    max_rejected_rows: int | None = Field(
        None, ge=0, description="with more rejected records, nothing of the file is loaded; no limit when left out"
    )
    max_rejected_share: Share | None = Field(None, description="the same as a share of the records")


def _known_pattern(value: str) -> str:
    try:
        pattern = re.compile(value)
    except re.error as problem:
        raise ValueError(f"is no regular expression: {problem}") from problem
    if "code" not in pattern.groupindex:
        raise ValueError("needs a group named code, for example (?P<code>[A-Z]+-[0-9]+)")
    return value


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
    code_in_name: Annotated[str, AfterValidator(_known_pattern)] | None = Field(
        None, description="regular expression with a group `code`, searched in `<folder>/<file name>`"
    )
    dates: Literal["dmy", "mdy"] = Field("dmy", description="how 03/04/2026 is read: 3 April or 4 March")
    login: tuple[Login, ...] = ()
    dialect: DialectSettings = DialectSettings()
    mapping: dict[str, str] = Field({}, description="header = field; an empty field ignores the column")
    limits: SourceLimits = SourceLimits()

    @property
    def mapping_version(self) -> str:
        """A short name of the saved mapping's content; empty when there is none."""
        text = repr(sorted(self.mapping.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:12] if self.mapping else ""


class Status(Frozen):
    """`[[status]]`: one of the 36 lead statuses. Loading gives leads those that `import_may_set`."""

    code: Name = Field(description="unique code of the status")
    name: str = Field(description="the name people see")
    kind: Literal["open", "closed"] = Field(description="whether a lead with it may still be called")
    import_may_set: bool = Field(False, description="whether loading a file may give a lead this status")
    dial_order: int | None = Field(None, description="the smaller, the sooner; kept, nothing dials yet")


class Organisation(Frozen):
    """`config/organisation.toml`."""

    team: tuple[Team, ...]
    user: tuple[User, ...] = ()
    project: tuple[Project, ...] = ()
    campaign: tuple[Campaign, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Organisation:
        _unique("team key", (t.key for t in self.team))
        _unique("user login", (u.login for u in self.user))
        _unique("project code", (p.code for p in self.project))
        _unique("campaign code", (c.code.casefold() for c in self.campaign))
        _unique("Lead Ownership Code", self._codes())
        self._one_tree()
        _exist("user.team", (u.team for u in self.user), {t.key for t in self.team})
        _exist("campaign.project", (c.project for c in self.campaign), {p.code for p in self.project})
        return self

    def _codes(self) -> list[str]:
        codes = [team.code for team in self.team] + [user.code for user in self.user]
        return [code_key(code) for code in codes if code]

    def _one_tree(self) -> None:
        parents = {t.key: t.parent for t in self.team}
        tops = [key for key, parent in parents.items() if parent is None]
        if len(tops) != 1:
            raise ValueError(f"exactly one team has no parent; found {len(tops)}: {', '.join(tops) or 'none'}")
        _exist("team.parent", (p for p in parents.values() if p), set(parents))
        for key in parents:
            _climb(key, parents)


class Sources(Frozen):
    """`config/sources.toml`."""

    source: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Sources:
        _unique("source name", (s.name for s in self.source))
        _unique("login", (login.login for s in self.source for login in s.login))
        return self


LOADED_STATUSES = ("unprocessed", "invalid_phone_number", "in_do_not_call_list", "in_global_do_not_call_list")
"""The statuses that loading gives to leads; they must be there, and import_may_set."""


class Statuses(Frozen):
    """`config/statuses.toml`."""

    status: tuple[Status, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Statuses:
        _unique("status code", (s.code for s in self.status))
        _exist("a load sets the status", LOADED_STATUSES, {s.code for s in self.status if s.import_may_set})
        return self


class Configuration(Frozen):
    """All that operators write, consistent in itself."""

    daemon: DaemonSettings
    organisation: Organisation
    sources: Sources
    statuses: Statuses


def code_key(code: str) -> str:
    """The form in which Lead Ownership Codes are compared: trimmed and case-insensitive (LEADS.md)."""
    return code.strip().casefold()


def read(folder: Path) -> Configuration:
    """Everything in a configuration folder; raises Misconfigured naming file, key and value."""
    organisation = _file(folder / "organisation.toml", Organisation)
    sources = _file(folder / "sources.toml", Sources)
    statuses = _file(folder / "statuses.toml", Statuses)
    _check_sources(folder / "sources.toml", sources, organisation)
    return Configuration(
        daemon=_file(folder / "ingestd.toml", DaemonSettings),
        organisation=organisation,
        sources=sources,
        statuses=statuses,
    )


Part = TypeVar("Part", bound=BaseModel)


def _file(path: Path, part: type[Part]) -> Part:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise Misconfigured(str(path), "file", "is missing") from missing
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise Misconfigured(str(path), "syntax", str(problem)) from problem
    try:
        return part(**values)
    except ValidationError as problem:
        raise misconfigured(path, problem) from problem


def misconfigured(path: Path, problem: ValidationError, *above: str) -> Misconfigured:
    """The first thing wrong, as file, key below `above` and value; and how many others, lest one thinks it was all."""
    errors = problem.errors()
    first: Any = errors[0]
    key = ".".join((*above, *(str(part) for part in first["loc"]))) or "file"
    shown = "" if isinstance(first["input"], dict) or "password" in key else f" (found {first['input']!r})"
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    return Misconfigured(str(path), key, f"{first['msg'].removeprefix('Value error, ')}{shown}{more}")


def _check_sources(path: Path, sources: Sources, organisation: Organisation) -> None:
    campaigns = {c.code for c in organisation.campaign}
    owners = {f"team:{t.key}" for t in organisation.team} | {f"user:{u.login}" for u in organisation.user}
    for source in sources.source:
        for code in (source.campaign, *source.campaigns):
            if code not in campaigns:
                raise Misconfigured(str(path), f"source {source.name}.campaign", f"no campaign {code!r} exists")
        if source.default_owner and source.default_owner not in owners:
            where = f"source {source.name}.default_owner"
            raise Misconfigured(str(path), where, f"no such team or user: {source.default_owner!r}")
        if source.unknown_code == "default_owner" and not source.default_owner:
            where = f"source {source.name}.unknown_code"
            raise Misconfigured(str(path), where, "'default_owner' needs default_owner to be set")


def _unique(what: str, values: Iterable[str]) -> None:
    doubled = [value for value, count in Counter(values).items() if count > 1]
    if doubled:
        raise ValueError(f"{what} used twice: {', '.join(doubled)}")


def _exist(what: str, values: Iterable[str], known: set[str]) -> None:
    for value in values:
        if value not in known:
            raise ValueError(f"{what}: {value!r} does not exist")


def _climb(key: str, parents: dict[str, str | None]) -> None:
    seen, here = {key}, parents[key]
    while here is not None:
        if here in seen:
            raise ValueError(f"team.parent: {key!r} is above itself")
        seen.add(here)
        here = parents[here]
