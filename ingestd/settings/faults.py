"""What is wrong in what operators write: every fault in one line, with the file, the key and the value."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ingestd.errors import Misconfigured

MOST = 10
"""Faults that are told of one file; a wrong file would have hundreds."""
NAMES = ("key", "login", "code", "name")
"""The keys by one of which a table among many is known to whoever wrote it."""


def misconfigured(
    path: Path, problem: ValidationError, part: type[BaseModel], *above: str, values: Mapping[str, Any] | None = None
) -> Misconfigured:
    """All that is wrong in one file, as key below `above` and value; those of the environment name the variable.

    Keys that are not known come first, because a misspelt one makes another one missing. `values` are those of the
    file, by which tables are called by their names.
    """
    errors: list[Any] = sorted(problem.errors(), key=lambda error: error["type"] != "extra_forbidden")
    told = [(_where(path, part, error["loc"]), *_told(error, part, above, values)) for error in errors[:MOST]]
    where, key, message = told[0]
    for its_where, its_key, its_message in told[1:]:
        message += f"; {f'{its_where}: ' if its_where != where else ''}{its_key}: {its_message}"
    if len(errors) > MOST:
        message += f"; and {len(errors) - MOST} more"
    return Misconfigured(where, key, message)


def _where(path: Path, part: type[BaseModel], place: Sequence[str | int]) -> str:
    """The file, or the variable that overrides it."""
    prefix = str(part.model_config.get("env_prefix", ""))
    if prefix:
        variable = (prefix + "__".join(str(step) for step in place)).upper()
        for name, value in os.environ.items():
            if value and f"{variable}__".startswith(f"{name.upper()}__"):
                return name
    return str(path)


def _told(
    error: Any, part: type[BaseModel], above: Collection[str], values: Mapping[str, Any] | None
) -> tuple[str, str]:
    """The key and what is wrong with it."""
    key = ".".join((*above, *_named(error["loc"], values))) or "file"
    secret = "password" in key or key.startswith(("store.", "storage."))
    shown = "" if isinstance(error["input"], Mapping) or secret else f" (found {error['input']!r})"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"there is no such key{_meant(error['loc'], part)}"
    return key, f"{message}{shown}"


def _named(place: Sequence[str | int], values: Any) -> list[str]:
    """The way to a value, where `source.0` is `source nordlead`."""
    steps: list[str] = []
    for step in place:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            values = None
        table = values if isinstance(values, Mapping) else {}
        names = [table[key] for key in NAMES if isinstance(table.get(key), str)]
        if isinstance(step, int) and names and steps:
            steps[-1] += f" {names[0]}"
        else:
            steps.append(str(step))
    return steps


def _meant(place: Sequence[str | int], part: type[BaseModel]) -> str:
    """The key of the same table that is like one that is not known."""
    within: type[BaseModel] | None = part
    for step in place[:-1]:
        if within is not None and step in within.model_fields:
            within = _model(within.model_fields[str(step)].annotation)
    near = difflib.get_close_matches(str(place[-1]), list(within.model_fields) if within else (), n=1)
    return f"; is {near[0]!r} meant?" if near else ""


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model of a field, also of one that holds many."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model(each))), None)
