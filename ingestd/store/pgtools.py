"""PostgreSQL's own programs, `pg_dump` and `pg_restore`: found, held against the server, and run without a password in
sight.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from psycopg import conninfo, pq
from sqlalchemy import Connection, Engine

from ingestd.errors import Unavailable

DEBIAN = Path("/usr/lib/postgresql")
"""where Debian keeps every installed version, `<major>/bin`"""


def major(version: int) -> int:
    """15 of 150018, the way in which servers tell their version."""
    return version // 10_000


def server_version(connection: Connection) -> int:
    """The version of the server as one number, such as 150018."""
    return int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())


def program(name: str, server: int) -> Path:
    """The first `name` that can work with a server of this version; raises Unavailable when there is none.

    A server is read by programs of its own major version or a later one (PostgreSQL's manual, pg_dump, "Notes").
    """
    found = {path: _major_of(path) for path in _installed(name)}
    for path, its in found.items():
        if its >= major(server):
            return path
    if not found:
        raise Unavailable(f"{name} was found neither on PATH nor in {DEBIAN}/*/bin; install PostgreSQL's client")
    told = f"the server is PostgreSQL {major(server)}, but {name} is {max(found.values())}"
    raise Unavailable(f"{told}; install the client of version {major(server)} or later")


def _installed(name: str) -> Iterator[Path]:
    if on_path := shutil.which(name):
        yield Path(on_path)
    newest_first = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: _number(path.parts[-3]), reverse=True)
    yield from newest_first


def _major_of(path: Path) -> int:
    done = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - found above
    return _number(done.stdout)


def _number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else 0


def run(path: Path, engine: Engine, *arguments: str) -> None:
    """Runs a program on the engine's database; raises Unavailable with what it said.

    The password goes by the environment, which only the same user can read, and not by the command line.
    """
    known = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    given = engine.dialect.create_connect_args(engine.url)[1]
    wanted = {key: value for key, value in given.items() if key in known}
    password = wanted.pop("password", None)
    environment = {**os.environ, "LC_MESSAGES": "C"} | ({"PGPASSWORD": str(password)} if password else {})
    command = [str(path), f"--dbname={conninfo.make_conninfo('', **wanted)}", "--no-password", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - found above
    if done.returncode != 0:
        raise Unavailable(f"{path.name} failed: {done.stderr.strip()[-2000:]}")
