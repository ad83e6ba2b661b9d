"""The command line. Data goes to stdout, progress and messages to stderr; exit codes as in WEB.md.

Heavy modules are imported inside the commands, so that `ingestd --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ingestd import garbage, printing
from ingestd.commands import files
from ingestd.commands.deliveries import deliveries
from ingestd.commands.dialling import lead
from ingestd.commands.do_not_call import dnc
from ingestd.commands.exits import CONFIGURATION, FAILURE, OK, REFUSED, WITH_REJECTS
from ingestd.commands.imports import import_file
from ingestd.commands.keys import key
from ingestd.commands.mappings import mapping as mappings
from ingestd.commands.options import CONFIG, HOME, AsJson, Config, Home, deed, delivery_of, opened
from ingestd.commands.organisation import org
from ingestd.commands.pools import pools
from ingestd.commands.reports import report
from ingestd.commands.segments import segments
from ingestd.commands.sources import source
from ingestd.commands.storage import storage
from ingestd.commands.users import user
from ingestd.commands.webhooks import webhook
from ingestd.errors import IngestdError, Misconfigured, Refused, Rejected

app = typer.Typer(
    name="ingestd",
    help="Receives files of leads and loads them into lead pools, with a log of the fate of every row.",
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 completed with rejects, 4 refused, 78 configuration error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(org, name="org")
app.add_typer(dnc, name="dnc")
app.add_typer(source, name="source")
app.command(name="import")(import_file)
app.add_typer(mappings, name="mapping")
app.add_typer(deliveries, name="deliveries")
app.add_typer(user, name="user")
app.add_typer(key, name="key")
app.add_typer(pools, name="pools")
app.add_typer(segments, name="segments")
app.add_typer(storage, name="storage")
app.add_typer(webhook, name="webhook")
app.add_typer(lead, name="lead")
app.command()(report)
app.add_typer(lead, name="leads", hidden=True)  # who thinks of many


class Kind(StrEnum):
    """The downloads of a pool's log."""

    FULL = "full"
    ERRORS = "errors"
    REJECTED = "rejected"
    ORIGINAL = "original"
    SUMMARY = "summary"


@app.command()
def serve(
    config: Config = CONFIG,
    home: Home = HOME,
    roles: Annotated[
        str | None,
        typer.Option(
            "--roles",
            help="What this node does, such as ftp,sftp,folder,web,worker; by default all that is configured.",
            envvar="INGESTD_ROLES",
        ),
    ] = None,
) -> None:
    """Opens every door and loads what comes, until SIGTERM or Ctrl-C."""
    from ingestd import journal
    from ingestd.daemon import opened

    journal.configure("supervisor")
    journal.log_crashes()
    with opened(config, home, roles) as daemon:
        code = daemon.run()
    raise typer.Exit(code)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop when the samples are loaded.")] = False,
    home: Annotated[
        Path | None, typer.Option("--home", help="Folder to use; a fresh temporary one by default.")
    ] = None,
    config: Config = CONFIG,
) -> None:
    """Starts a daemon in a fresh home, sends sample files by FTP and drop folder, and shows what becomes of them."""
    from ingestd import demo as show

    show.run(config, home, once=once)


@app.command(name="check")
def check_configuration(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Proves configuration, schemas, database, folders and ports, without starting anything."""
    from ingestd import checks

    results = list(checks.run(config, home))
    if as_json:
        printing.print_json([{"check": name, "ok": problem is None, "problem": problem} for name, problem in results])
    else:
        for name, problem in results:
            typer.echo(f"{'ok  ' if problem is None else 'FAIL'}  {name}" + (f": {problem}" if problem else ""))
    if any(problem for _, problem in results):
        raise typer.Exit(CONFIGURATION)


@app.command()
def log(
    pool: Annotated[int, typer.Argument(help="The pool's number; with --delivery, the delivery's.", metavar="POOL")],
    kind: Annotated[Kind, typer.Option("--kind", help="Which download.")] = Kind.FULL,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write; stdout by default.")] = None,
    by_delivery: Annotated[bool, typer.Option("--delivery", help="The number is a delivery's.")] = False,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print full or errors as JSON, one object a line.")] = False,
) -> None:
    """Writes the log of a pool: every row's fate, errors, rejected rows as they came, the original, or a summary."""
    from ingestd.ingest import downloads

    house = opened(config, home)
    delivery = delivery_of(house, pool, pool=not by_delivery)
    if as_json and kind in (Kind.REJECTED, Kind.ORIGINAL):
        raise typer.BadParameter(f"{kind} is the bytes as they came; --json is for full, errors and summary")
    pieces = downloads.pieces(delivery, kind, logs=house.logs, spool=house.spool, as_json=as_json, engine=house.engine)
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    files.write(pieces, output)
    typer.echo(f"{output}: {output.stat().st_size:,} bytes", err=True)


@app.command()
def retry(
    delivery: Annotated[int, typer.Argument(help="The number of a refused or failed delivery.")],
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """Queues a refused or failed delivery once more, for example after its mapping was mended.

    The running daemon takes it up; without one the next start does.
    """
    house = opened(config, home)
    house.ledger.retry(delivery_of(house, delivery).id, deed())
    typer.echo(f"delivery {delivery} is queued")


@app.command()
def status(config: Config = CONFIG, home: Home = HOME, as_json: AsJson = False) -> None:
    """Shows the daemon of this home with its processes and doors, every node on the store, and the queue."""
    from ingestd import overview

    seen = overview.look(opened(config, home))
    if as_json:
        printing.print_json(overview.as_json(seen))
        return
    for line in overview.lines(seen):
        typer.echo(line)
    if seen.nodes:
        printing.print_table(overview.table(seen))


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The folder to make; it must not be there.", metavar="TARGET")],
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Makes the folder TARGET of the store and of every file that it names, while the daemon runs or not."""
    from ingestd import backup as backups

    estate = backups.Estate.of(config, home)
    with printing.progress() as progress:
        made = backups.take(estate, target, progress)
    printing.backed_up(made, f"{target}", as_json=as_json)
    if not estate.keeps_files:
        typer.echo("  received files and logs are not in it: they stay in the storage", err=True)
    raise typer.Exit(WITH_REJECTS if made.faults else OK)


@app.command()
def restore(
    source_folder: Annotated[Path, typer.Argument(help="A folder that `backup` made.", metavar="SOURCE")],
    replace: Annotated[bool, typer.Option("--replace", help="Put aside what is there, instead of refusing.")] = False,
    config: Config = CONFIG,
    home: Home = HOME,
    as_json: AsJson = False,
) -> None:
    """Makes home and store from a backup; both must be empty."""
    from ingestd import restore as restoring
    from ingestd.backup import Estate

    with printing.progress() as progress:
        told = restoring.put_back(Estate.of(config, home), source_folder, progress, replace=replace)
    printing.backed_up(told, f"{source_folder}, restored to {home}", as_json=as_json)


@app.command(name="role", hidden=True)
def run_role(
    role: str,
    name: Annotated[str, typer.Option()],
    pipe_numbers: Annotated[str, typer.Option("--pipes")],
    node: Annotated[int, typer.Option()],
    sockets: Annotated[list[str] | None, typer.Option("--socket")] = None,
    config: Config = CONFIG,
    home: Home = HOME,
) -> None:
    """The main function of a child of `serve`."""
    import structlog

    from ingestd import pipes, roles

    lifeline, doorbell, told = (int(number) for number in pipe_numbers.split(","))
    handed = {door: int(number) for door, _, number in (each.partition("=") for each in sockets or ())}
    given = pipes.Pipes(lifeline=lifeline, doorbell=doorbell, told=told, sockets=handed)
    try:
        roles.run(role, config, home, given, name=name, node=node)
    except IngestdError as problem:
        code = CONFIGURATION if isinstance(problem, Misconfigured) else FAILURE
        structlog.get_logger().error("role_failed", error=str(problem))
        raise typer.Exit(code) from problem


def main() -> None:
    """The entry point: what goes wrong on purpose ends in one clear line and the right exit code."""
    garbage.look_seldom()
    os.umask(0o077)  # whatever is written holds personal data; who else may read it is the operator's to say
    try:
        app()
    except Misconfigured as problem:
        _end(str(problem), CONFIGURATION)
    except Rejected as problem:
        _end(problem.message + (f"; {problem.suggestion}" if problem.suggestion else ""), REFUSED)
    except Refused as problem:
        _end(problem.message, REFUSED)
    except IngestdError as problem:
        _end(str(problem), FAILURE)


def _end(message: str, code: int) -> None:
    typer.echo(f"ingestd: {message}", err=True)
    sys.exit(code)
