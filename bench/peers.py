"""The programs that others load such rows with. Each gets the finished rows: nothing to read, map, check or screen.

The bench installs what is missing: pgloader by apt-get, sqlite-utils and dlt in an environment of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

PACKAGES = ("sqlite-utils==4.2.1", "dlt[parquet,postgres,sqlalchemy]==1.31.0")
"""fixed, so that two runs of the bench measure the same"""
SAME, OWN = "the finished rows, the same table and indexes", "the finished rows, a table of its own without indexes"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A loader that ingestd is measured beside."""

    name: str
    into: str
    command: Callable[[str, Path], list[str]]
    """of a database and the file with the finished rows, which has a header"""
    needs: Callable[[], str]
    """makes it ready; the reason why it cannot be measured, or nothing"""
    environment: tuple[tuple[str, str], ...] = ()


def sqlite_import(database: str, file: Path) -> list[str]:
    """The bare loader of SQLite, with the settings of ingestd's own connections."""
    pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
    return ["sqlite3", "-csv", database, pragmas, f".import --skip 1 {file} leads"]


def psql_copy(url: str, file: Path) -> list[str]:
    """The bare loader of PostgreSQL."""
    return psql(url, f"\\copy leads from '{file}' csv header")


def psql(url: str, command: str) -> list[str]:
    """A command for a database."""
    return ["psql", "-q", "-d", _plain(url), "-c", command]


def timed(peer: Peer, database: str, file: Path) -> float | str:
    """Seconds of the whole command, or why there are none."""
    if reason := peer.needs():
        return reason
    begun = time.perf_counter()
    environment = {**os.environ, **dict(peer.environment)}
    done = subprocess.run(peer.command(database, file), env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    return seconds if done.returncode == 0 else f"failed: {(done.stderr or done.stdout).strip()[-200:]}"


def on_sqlite() -> list[Peer]:
    """Those that load into SQLite."""
    return [
        _bare("sqlite3 .import", "sqlite3", sqlite_import),
        Peer(
            name="sqlite-utils insert",
            into=SAME,
            command=lambda database, file: [_venv("sqlite-utils"), "insert", database, "leads", str(file), "--csv"],
            needs=_ready,
        ),
        _dlt("sqlite:///"),
    ]


def on_postgres() -> list[Peer]:
    """Those that load into PostgreSQL."""
    return [
        _bare("psql \\copy", "psql", psql_copy),
        Peer(name="pgloader", into=SAME, command=_pgloader, needs=_pgloader_ready),
        _dlt(""),
    ]


def _bare(name: str, program: str, command: Callable[[str, Path], list[str]]) -> Peer:
    def needs() -> str:
        return "" if shutil.which(program) else f"{program} is not installed"

    return Peer(name=name, into=SAME, command=command, needs=needs)


def _dlt(prefix: str) -> Peer:
    def command(database: str, file: Path) -> list[str]:
        script = Path(__file__).with_name("dlt_load.py")
        url = make_url(_plain(prefix + database))
        if not prefix:
            url = url.set(password="unused")  # dlt asks for one, also where the server asks for none
        target = url.render_as_string(hide_password=False)
        return [_venv("python"), str(script), target, str(file), str(file.parent / "dlt")]

    quiet = (("RUNTIME__DLTHUB_TELEMETRY", "false"), ("RUNTIME__LOG_LEVEL", "ERROR"))
    return Peer(name="dlt, from Arrow", into=OWN, command=command, needs=_ready, environment=quiet)


def _pgloader(url: str, file: Path) -> list[str]:
    its, options = make_url(url), ("skip header = 1", "fields terminated by ','", "fields escaped by double-quote")
    target = f"postgresql://{its.username}@{its.host}:{its.port}/{its.database}?tablename=leads"
    with file.open(encoding="utf-8") as lines:
        named = ", ".join(lines.readline().strip().split(","))
    words = [word for option in options for word in ("--with", option)]
    return ["pgloader", "--type", "csv", *words, "--field", named, str(file), target]


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def _pgloader_ready() -> str:
    if shutil.which("pgloader"):
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "pgloader is not installed: apt-get install pgloader"
    done = subprocess.run(["apt-get", "install", "-y", "-q", "pgloader"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "apt-get cannot install pgloader"


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ingestd-bench" / "peers"


def _venv(program: str) -> str:
    return str(_folder() / "bin" / program)


def _ready() -> str:
    """The environment with the Python peers; made once for all benches of this user."""
    stamp = _folder() / "installed"
    if stamp.exists() and stamp.read_text() == "\n".join(PACKAGES):
        return ""
    shutil.rmtree(_folder(), ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(_folder())], check=True)
    command = [_venv("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"pip cannot install it: {done.stderr.strip()[-200:]}"
    stamp.write_text("\n".join(PACKAGES))
    return ""
