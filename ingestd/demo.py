"""`ingestd demo`: a real daemon in a fresh home, real files by FTP, SFTP and drop folder, and what became of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ingestd import samples, senders, week
from ingestd.accounts import hash_password
from ingestd.commands.options import deed
from ingestd.errors import Misconfigured, Unavailable
from ingestd.house import House, open_house
from ingestd.ingest.poollog import PoolLog
from ingestd.leads import do_not_call, kpis
from ingestd.organisation import sources, users
from ingestd.preparing import prepare_store
from ingestd.printing import table_of
from ingestd.receipts import receipt
from ingestd.receive.companions import kind_of
from ingestd.schemas import read as read_schema
from ingestd.store import pools
from ingestd.store.engine import reading, writing
from ingestd.store.ledger import now

PATIENCE_SECONDS = 60.0
VISITORS = ("admin", "lead-denmark", "copenhagen-1")
"""An administrator, a team leader and an agent of the example."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)


@dataclass(frozen=True, kw_only=True)
class Stand:
    """A demo that is up: its files are loaded."""

    house: House
    process: subprocess.Popen[bytes]
    doors: dict[str, Any]
    password: str
    """of every visitor"""


def run(config: Path, home: Path | None, *, once: bool) -> None:
    """The whole show; stays up until Ctrl-C unless `once`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the daemon and the home go with the demo
    with standing(config, home) as stand:
        _show_addresses(stand.doors, stand.house.places.home, stand.password)
        if not once:
            _stay(stand.process)


@contextmanager
def standing(config: Path, home: Path | None) -> Iterator[Stand]:
    """A daemon with a week behind it and today's files, told on the console while they come."""
    config = config.resolve()
    sent = list(samples.every())
    with _home(home) as place:
        house = open_house(config, place)
        _check_sources(config, house, sent)
        prepare_store(house)
        _import_do_not_call(house)
        password = _let_in(house)
        with console.status("a week passes …"):
            week.live(house, now())
        console.print(f"[bold]ingestd demo[/bold] · home {place}")
        with _daemon(config, place) as process:
            doors = _doors(house, process)
            _show_doors(doors)
            before = max((each.id for each in house.ledger.latest(limit=1)), default=0)
            _send_all(doors, house.places.keys, sent)
            today = sum(kind_of(sample.name) is None for sample in sent)
            _wait_for_ends(house, before, today, process)
            show(house, today)
            yield Stand(house=house, process=process, doors=doors, password=password)


def _check_sources(config: Path, house: House, sent: list[samples.Sample]) -> None:
    """The samples are those of the example configuration's partners."""
    missing = {sample.source for sample in sent} - {source.name for source in house.configuration.sources.source}
    if missing:
        told = f"the demo sends files of {', '.join(sorted(missing))}; use the example configuration"
        raise Misconfigured(str(config / "sources.toml"), "source", told)


@contextmanager
def _home(home: Path | None) -> Iterator[Path]:
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        yield home.resolve()
        return
    fresh = Path(tempfile.mkdtemp(prefix="ingestd-demo-"))
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh)


@contextmanager
def _daemon(config: Path, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon of its own, on any free port, that ends with the demo."""
    command = [sys.executable, "-m", "ingestd", "serve", "--config", str(config), "--home", str(home)]
    ports = {f"INGESTD_{door}__PORT": "0" for door in ("FTP", "SFTP", "HTTP")}
    environment = {**os.environ, **ports, "INGESTD_FOLDER__QUIET_SECONDS": "0.5"}
    with (home / "daemon.log").open("ab") as journal:
        process = subprocess.Popen(command, env=environment, stderr=journal)  # noqa: S603 - our own program
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _doors(house: House, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    _wait(house.places.endpoints.exists, process, "the doors did not open")
    doors: dict[str, Any] = json.loads(house.places.endpoints.read_text(encoding="utf-8"))
    return doors


def _show_doors(doors: dict[str, Any]) -> None:
    listening = [f"{name.upper()} on {doors[name]['host']}:{doors[name]['port']}" for name in ("ftp", "sftp")]
    console.print(f"{' · '.join(listening)} · drop folder {doors['folder']['path']}", soft_wrap=True)
    if http := doors.get("http"):
        console.print(f"health on http://{http['host']}:{http['port']}/readyz")
    console.print()


def _import_do_not_call(house: House) -> None:
    do_not_call.import_list(
        house.engine,
        samples.do_not_call(),
        name="dnc.csv",
        schema=read_schema(house.schemas),
        campaign=None,
        region=None,
        deed=deed("asked not to be called"),
    )


def _let_in(house: House) -> str:
    """Gives those who may look around a password, which only this demo has."""
    password = sources.new_password()
    encoded = hash_password(password)
    with writing(house.engine) as connection:
        for login in VISITORS:
            users.set_password(connection, deed("to look around"), login, encoded)
    return password


def _send_all(doors: dict[str, Any], keys: Path, sent: list[samples.Sample]) -> None:
    for sample in sent:
        answer = _shortened(senders.send(doors, keys, sample), 60)
        sent_as = f"{sample.source:<10} → {sample.door:<6} {sample.name:<30}"
        console.print(f"  {sent_as} {len(sample.data):>9,} bytes   {answer}")


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _wait_for_ends(house: House, before: int, wanted: int, process: subprocess.Popen[bytes]) -> None:
    """Until so many deliveries after the one of number `before`, the last of the week, have ended."""

    def ended() -> bool:
        found = house.ledger.latest(limit=wanted)
        return sum(each.id > before and each.published_at is not None for each in found) >= wanted

    with console.status("loading …"):
        _wait(ended, process, "the samples were not loaded")


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        if process.poll() is not None:
            raise Unavailable(f"the daemon ended with {process.returncode}; see daemon.log in its home")
        if time.monotonic() > deadline:
            raise Unavailable(f"{otherwise} within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.05)


def show(house: House, count: int) -> None:
    """The latest deliveries, pools with owners, and the rejects with reasons."""
    ended = list(reversed(house.ledger.latest(limit=count)))
    console.print()
    table = _table(
        "Deliveries", "id", "source", "file", "complete", "state", "records", "loaded", "rejected", "duplicate", "why"
    )
    for each in ended:
        counts = each.counts
        numbers = (f"{number:,}" for number in (counts.records, counts.loaded, counts.rejected, counts.duplicate))
        table.add_row(
            str(each.id), each.source, each.name, each.completeness, each.state, *numbers, _shortened(each.reason, 60)
        )
    console.print(table)
    _show_pools(house)
    dirty = next(each for each in ended if each.name == "nordlead-corrections.csv")
    _show_rejects(PoolLog(storage=house.logs, key=dirty.log_key), dirty.name)
    console.print("What came back to nordlead in results/ :", style="bold")
    today = {each.name for each in ended}
    for path in sorted((house.places.homes / "nordlead" / "results").glob("[!.]*")):
        if any(path.name.startswith(name) for name in today):
            console.print(f"  {path.name}")
    told = json.dumps(receipt(ended[0])["counts"])
    console.print(f"  (the receipt of the first file says {told})\n")


def _show_pools(house: House) -> None:
    table = _table(
        "Lead pools", "id", "pool", "campaign", "state", "ready", "open", "% closed", "total", "success", "owners"
    )
    with reading(house.engine) as connection:
        latest = pools.latest(connection, limit=12)
        figures = kpis.measured_all(connection, [pool["id"] for pool in latest], ["success_rate"], now())
        for pool in reversed(latest):
            owners = pools.owners(connection, pool["id"])
            told = ", ".join(f"{each['ownership_code']} {each['leads']:,}" for each in owners[:4])
            more = f" and {len(owners) - 4} more" if len(owners) > 4 else ""
            numbers = (f"{pool[name]:,}" for name in ("ready_to_dial", "total_open", "percent_closed", "total"))
            ((_, success),) = figures[pool["id"]]
            rate = "" if success is None else f"{success} %"
            table.add_row(str(pool["id"]), pool["name"], pool["campaign"], pool["state"], *numbers, rate, told + more)
    console.print(table)


def _show_rejects(log: PoolLog, name: str) -> None:
    table = _table(f"Every problem of {name}", "line", "code", "column", "what is wrong", "what to do")
    for row in log.problems().sort("row", maintain_order=True).iter_rows(named=True):
        message = _shortened(row["message"], 88)
        table.add_row(str(row["line_start"]), row["code"], row["column"], message, row["suggestion"])
    console.print(table)


def _show_addresses(doors: dict[str, Any], home: Path, password: str) -> None:
    ftp = doors["ftp"]
    if http := doors.get("http"):
        console.print(f"Look around: [bold]http://{http['host']}:{http['port']}/[/bold]", soft_wrap=True)
        console.print(f"  sign in as {', '.join(VISITORS)} with the password [bold]{password}[/bold]\n", soft_wrap=True)
    console.print("Try it yourself, from another terminal:", style="bold")
    target = f"ftp://nordlead:nordlead-demo@{ftp['host']}:{ftp['port']}/upload/"
    trusted = senders.certificate(home / "keys")
    console.print(f"  curl --ssl-reqd --cacert {trusted} -T leads.csv {target}", soft_wrap=True)
    if http := doors.get("http"):
        console.print(f"  curl http://{http['host']}:{http['port']}/metrics", soft_wrap=True)
    sftp = doors["sftp"]
    console.print(
        f"  sftp -P {sftp['port']} nordlead@{sftp['host']}   # host key {sftp['fingerprint']}", soft_wrap=True
    )
    console.print(f"  .venv/bin/ingestd deliveries --home {home}", soft_wrap=True)
    console.print(f"  .venv/bin/ingestd log 1 --home {home}", soft_wrap=True)


def _stay(process: subprocess.Popen[bytes]) -> None:
    console.print("\nCtrl-C ends the demo and removes its home.")
    try:
        process.wait()
    except KeyboardInterrupt:
        console.print("ended")


def _table(title: str, *columns: str) -> Table:
    table: Table = table_of(*columns, title=title, title_justify="left", title_style="bold", header_style="dim")
    return table
