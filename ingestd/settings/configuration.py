"""The whole configuration folder, read once. Errors name the file, the key and the value."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError

from ingestd.errors import Misconfigured
from ingestd.settings.daemon import DaemonSettings
from ingestd.settings.faults import misconfigured
from ingestd.settings.frozen import Frozen
from ingestd.settings.organisation import Organisation
from ingestd.settings.sources import Sources
from ingestd.settings.statuses import Statuses


class Configuration(Frozen):
    """All that operators write, consistent in itself."""

    daemon: DaemonSettings
    organisation: Organisation
    sources: Sources
    statuses: Statuses


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
    except OSError as problem:
        raise Misconfigured(str(path), "file", f"cannot be read: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise Misconfigured(str(path), "syntax", str(problem)) from problem
    try:
        return part(**values)
    except ValidationError as problem:
        raise misconfigured(path, problem, part, values=values) from problem
    except SettingsError as problem:  # of a variable that holds a whole table, as JSON
        raise Misconfigured("environment", "value", f"{problem}; a whole table is written as JSON") from problem


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
