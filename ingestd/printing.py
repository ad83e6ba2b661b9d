"""How the command line shows things. rich loads only where something is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from ingestd.ingest.rehearsal import Rehearsal
    from ingestd.manifest import Manifest
    from ingestd.model import Delivery
    from ingestd.roster import RoleState, Roster


def report(delivery: Delivery, *, as_json: bool) -> None:
    """How a delivery ended, for people or for programs."""
    from ingestd.receipts import receipt

    if as_json:
        print_json(receipt(delivery))
        return
    counts = delivery.counts
    typer.echo(f"delivery {delivery.id}: {delivery.state}" + (f", pool {delivery.pool_id}" if delivery.pool_id else ""))
    if delivery.duplicate_of:
        typer.echo(f"  the same file came before, as delivery {delivery.duplicate_of}; it was not loaded again")
    if delivery.reason:
        typer.echo(f"  {delivery.reason_code}: {delivery.reason}")
        typer.echo(f"  {delivery.suggestion}" if delivery.suggestion else "", nl=bool(delivery.suggestion))
    if counts.records:
        ends = ", ".join(f"{getattr(counts, name):,} {name}" for name in _ends() if getattr(counts, name))
        typer.echo(f"  {counts.records:,} records: {ends}")
        typer.echo(
            f"  ingestd log {delivery.pool_id} --kind errors   says why" if counts.rejected else "",
            nl=bool(counts.rejected),
        )


def rehearsed(rehearsal: Rehearsal, *, as_json: bool) -> None:
    """What would become of a file, for people or for programs."""
    from ingestd.ingest.rehearsal import as_json as data

    if as_json:
        print_json(data(rehearsal))
        return
    typer.echo(f"would be {rehearsal.state}; nothing was loaded")
    if rehearsal.duplicate_of:
        typer.echo(f"  the same file came before, as delivery {rehearsal.duplicate_of}")
    if rehearsal.refused:
        typer.echo(f"  {rehearsal.refused['code']}: {rehearsal.refused['message']}")
    counts = rehearsal.counts
    if counts.records:
        ends = ", ".join(f"{getattr(counts, name):,} {name}" for name in _ends() if getattr(counts, name))
        typer.echo(f"  {counts.records:,} records into {rehearsal.campaign}: {ends}")
    for share in rehearsal.owners:
        typer.echo(f"  {share.leads:,} leads to {share.kind}:{share.owner}")
    for group in rehearsal.problems:
        typer.echo(f"  {group.code} in {group.column!r}: {group.count:,} ({group.severity}s)")
        for each in group.examples:
            typer.echo(f"    row {each.row}: {each.message}")
    if rehearsal.ignored_columns:
        typer.echo(f"  ignored columns: {', '.join(rehearsal.ignored_columns)}")


def _ends() -> list[str]:
    from ingestd.model import Outcome

    return [str(outcome) for outcome in Outcome]


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on stderr while something takes long."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    # Where nobody watches, a bar that comes and goes would leave an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def backed_up(made: Manifest, what: str, *, as_json: bool) -> None:
    """What is in a backup, for people or for programs; faults go to stderr as well."""
    from dataclasses import asdict

    if as_json:
        print_json(asdict(made))
    else:
        store, tables = made.store, made.store.tables
        rows = f"{tables.get('deliveries', 0):,} deliveries, {tables.get('leads', 0):,} leads"
        typer.echo(f"{what}: {made.files:,} files, {made.size:,} bytes, as of {made.taken_at:%Y-%m-%d %H:%M:%S} UTC")
        typer.echo(f"  {store.kind}: {rows}")
    for fault in made.faults:
        typer.echo(f"  {fault}", err=True)


def roles(known: Roster | None) -> list[dict[str, Any]]:
    """The roles of a running daemon for programs."""
    from dataclasses import asdict

    return [asdict(role) for role in known.roles] if known else []


def role_line(role: RoleState, now: datetime) -> str:
    """One role for people."""
    since = f"pid {role.pid}, since {role.since:%Y-%m-%d %H:%M:%S} UTC" if role.since else "no process"
    beat = f"spoke {(now - role.beat_at).total_seconds():.1f} s ago" if role.beat_at else "has not spoken"
    return f"{role.name}: {role.state}, {since}, {beat}, {role.restarts} restarts"


def code_of(owner: dict[str, Any]) -> str:
    """A Lead Ownership Code behind its owner's name."""
    return f"  [{owner['ownership_code']}]" if owner["ownership_code"] else ""


def print_json(value: Any) -> None:
    """Data for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def table_of(*columns: str, **style: Any) -> Any:
    """An empty table; columns of numbers are aligned to the right. `style` is that of rich's Table."""
    from rich.table import Table

    table = Table(**{"box": None, "pad_edge": False, "header_style": "bold", **style})
    numbers = ("id", "line", "records", "loaded", "rejected", "duplicate", "ready", "open", "% closed", "total")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def print_table(table: Any) -> None:
    """Prints a table as wide as the terminal, or wide enough for a file; of an empty one, a word on stderr too."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 180).print(table)
    if not table.row_count:
        typer.echo("nothing yet", err=True)
