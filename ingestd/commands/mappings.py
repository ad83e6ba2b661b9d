"""`ingestd mapping`: the saved mapping of each source, with its versions, and suggestions for one.

Heavy modules are imported inside the commands, as in `cli`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestd import printing
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, Why, deed, opened

if TYPE_CHECKING:
    from ingestd.house import House
    from ingestd.ingest.suggesting import Suggested
    from ingestd.store.mappings import Version

mapping = typer.Typer(help="What the columns of each source's files are: header and field.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the source.")]
Pairs = Annotated[
    list[str] | None,
    typer.Argument(metavar="HEADER=FIELD", help="Such as 'Kd-Nr.=external_id'; nothing after = ignores the column."),
]
FromFile = Annotated[
    Path | None,
    typer.Option(
        "--file", help="A file with a JSON object of header and field.", exists=True, dir_okay=False, metavar="JSON"
    ),
]


@mapping.command()
def show(name: Name, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Shows the mapping that the next file of a source is read with."""
    from ingestd.organisation import mappings
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        current = mappings.current(connection, name)
    if as_json:
        printing.print_json(_told(current))
        return
    typer.echo(f"version {current.version}, saved {current.saved_at:%Y-%m-%d %H:%M:%S} UTC by {current.saved_by}")
    _print(current.mapping)


@mapping.command()
def suggest(
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A file of the source, or its beginning.", exists=True, dir_okay=False),
    ],
    campaign: Annotated[
        str, typer.Option("--campaign", help="Whose fields count; by default the source's own.", metavar="CODE")
    ] = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Says which field each column of FILE probably is, how surely, and why; saves nothing.

    `--json` has the whole as a `mapping`, which `ingestd mapping save SOURCE --file` takes.
    """
    found = _suggested(opened(config, home), name, file, campaign)
    if as_json:
        printing.print_json(dataclasses.asdict(found))
        return
    table = printing.table_of("column", "field", "score", "why", "or", "such as")
    for each in found.columns:
        others = ", ".join(f"{guess.field} ({guess.score:.0f})" for guess in each.alternatives)
        samples = ", ".join(each.samples[:3])
        table.add_row(each.header, each.field or "", f"{each.score:.0f}", each.why, others, samples)
    printing.print_table(table)
    if found.missing_fields:
        typer.echo(f"required, and no column is it: {', '.join(found.missing_fields)}", err=True)


@mapping.command()
def save(
    name: Name,
    pairs: Pairs = None,
    from_file: FromFile = None,
    only: Annotated[bool, typer.Option("--only", help="Keep nothing of the mapping that is saved now.")] = False,
    version: Annotated[
        int | None, typer.Option("--version", help="Refuse when the saved mapping has another version by now.")
    ] = None,
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Lays columns over the saved mapping of a source; it counts from the next file on.

    The same mapping again makes no new version.
    """
    from ingestd.organisation import mappings
    from ingestd.store.engine import writing

    wanted = mapping_of(pairs, from_file)
    if wanted is None and not only:
        raise typer.BadParameter("name columns, as HEADER=FIELD or with --file; --only alone empties the mapping")
    house = opened(config, home)
    with writing(house.engine) as connection:
        before = mappings.current(connection, name)
        whole = {**({} if only else before.mapping), **(wanted or {})}
        seen = None if version is None else f"mapping-{version}"
        saved = mappings.save(connection, deed(why), name, whole, folder=house.schemas, seen=seen)
    _report(name, saved, as_json=as_json)


@mapping.command()
def versions(name: Name, config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Lists every mapping that a source had, the newest first."""
    from ingestd.organisation import mappings
    from ingestd.store.engine import reading

    with reading(opened(config, home).engine) as connection:
        found = mappings.versions(connection, name)
    if as_json:
        printing.print_json([_told(each) for each in found])
        return
    table = printing.table_of("version", "saved (UTC)", "by", "columns", "why")
    for each in found:
        count = f"{len(each.mapping):,}"
        table.add_row(str(each.version), f"{each.saved_at:%Y-%m-%d %H:%M:%S}", each.saved_by, count, each.why)
    printing.print_table(table)


@mapping.command()
def use(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="As `ingestd mapping versions` has it.", min=1)],
    why: Why = "",
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Makes an earlier version the mapping once more; it becomes the newest version."""
    from ingestd.organisation import mappings
    from ingestd.store.engine import writing

    house = opened(config, home)
    with writing(house.engine) as connection:
        saved = mappings.restore(connection, deed(why), name, version, folder=house.schemas)
    _report(name, saved, as_json=as_json)


def mapping_of(pairs: list[str] | None, file: Path | None) -> dict[str, str] | None:
    """What is named of a mapping, on the line over what is in the file; None when nothing is."""
    if not pairs and file is None:
        return None
    return {**({} if file is None else _in(file)), **dict(_pair(each) for each in pairs or ())}


def _in(file: Path) -> dict[str, str]:
    """A mapping as `mapping suggest --json`, or as an object of its own, has it."""
    import json

    from ingestd.errors import Invalid
    from ingestd.organisation import mappings

    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text)
        inner = found.get("mapping") if isinstance(found, dict) else None
        return mappings.parsed(json.dumps(inner) if isinstance(inner, dict) else text, field="file")
    except Invalid as problem:
        raise typer.BadParameter(f"{file}: {problem.message}") from problem
    except (OSError, ValueError) as problem:
        raise typer.BadParameter(f"{file} is no JSON: {problem}") from problem


def _pair(word: str) -> tuple[str, str]:
    """A header may have `=` in it, a field has none."""
    header, equals, field = word.rpartition("=")
    if not equals or not header.strip():
        raise typer.BadParameter(f"{word!r} is not written as HEADER=FIELD")
    return header, field.strip()


def _suggested(house: House, name: str, file: Path, campaign: str) -> Suggested:
    from ingestd.errors import Missing
    from ingestd.ingest import head, suggesting
    from ingestd.store import organisation
    from ingestd.store.engine import reading

    with reading(house.engine) as connection:
        source = organisation.source(connection, name)
        if source is None:
            raise Missing("source_unknown", f"there is no active source {name!r}")
        known = suggesting.knowledge(connection, house.schemas, campaign or source.campaign, source.mapping)
    with file.open("rb") as opened_file:
        pieces = iter(partial(opened_file.read, head.SIZE), b"")
        # What is packed can only be read whole, and is no larger than its source may send.
        content = head.beginning(islice(pieces, 2 + source.limits.max_file_bytes // head.SIZE))
    return suggesting.of_file(content, source, known)


def _told(version: Version) -> dict[str, Any]:
    from ingestd.settings import mapping_digest

    return {**vars(version), "digest": mapping_digest(version.mapping)}


def _report(name: str, saved: Version, *, as_json: bool) -> None:
    if as_json:
        printing.print_json(_told(saved))
        return
    typer.echo(f"the mapping of {name} has version {saved.version}")
    _print(saved.mapping)


def _print(columns: Mapping[str, str]) -> None:
    for header, field in columns.items():
        typer.echo(f"  {header} = {field}" if field else f"  {header} is ignored")
