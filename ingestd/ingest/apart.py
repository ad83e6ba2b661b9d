"""Rehearsals in a process of their own: a large file takes an interpreter for itself, which others wait for.

`python -m ingestd.ingest.apart` is told one as JSON on its standard input and answers with JSON. Its memory is given
back when it ends, and whatever happens to it happens to nobody else.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ingestd.errors import IngestdError, Unavailable
from ingestd.ingest import rehearsal
from ingestd.ingest.judging import Judge
from ingestd.model import Completeness, Counts, Delivery, State
from ingestd.store.engine import open_engine

PATIENCE_SECONDS = 300.0
"""A file of the default limit takes a few seconds; whatever takes so long will not end."""
_AWAY = 75
"""The exit code of something of ours that is away (sysexits.h, EX_TEMPFAIL)."""
_INSTANTS = ("received_at", "queued_at", "started_at", "finished_at", "published_at", "confirmed_at")


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What is to be rehearsed, and with what."""

    store: str
    """the database's URL with its password, which travels through a pipe and never on a command line"""
    schemas: Path
    file: Path
    delivery: Delivery
    rows: int = 0


async def run(errand: Errand) -> dict[str, Any]:
    """The rehearsal as JSON has it; raises Unavailable when the process does not come to its end.

    Whoever is cancelled while waiting for it, as by a server that stops, takes it along.
    """
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "ingestd.ingest.apart")
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer, complaint = await child.communicate(_written(errand))
    except TimeoutError as problem:
        raise Unavailable(f"a rehearsal took longer than {PATIENCE_SECONDS:.0f} s") from problem
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode != 0:
        told = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unavailable(f"a rehearsal ended with code {child.returncode}: {told}")
    rehearsal_told: dict[str, Any] = json.loads(answer)
    return rehearsal_told


def rehearsed(errand: Errand) -> dict[str, Any]:
    """The same in this process."""
    engine = open_engine(errand.store)
    try:
        judge = Judge(engine=engine, schemas=errand.schemas, delivery=errand.delivery)
        return rehearsal.as_json(rehearsal.rehearse(judge, errand.file.read_bytes, rows=errand.rows))
    finally:
        engine.dispose()


def main() -> None:
    """The child's side."""
    try:
        answer = rehearsed(_read(sys.stdin.buffer.read()))
    except IngestdError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(_AWAY)
    sys.stdout.write(json.dumps(answer))


def _written(errand: Errand) -> bytes:
    facts = {**vars(errand), "schemas": str(errand.schemas), "file": str(errand.file)}
    return json.dumps({**facts, "delivery": dataclasses.asdict(errand.delivery)}, default=_text).encode()


def _text(value: object) -> str:
    assert isinstance(value, datetime)
    return value.isoformat()


def _read(text: bytes) -> Errand:
    facts: dict[str, Any] = json.loads(text)
    said = facts.pop("delivery")
    moments = {name: datetime.fromisoformat(said[name]) if said[name] else None for name in _INSTANTS}
    kinds = {"state": State(said["state"]), "completeness": Completeness(said["completeness"])}
    delivery = Delivery(**{**said, **moments, **kinds, "counts": Counts(**said["counts"])})
    facts |= {name: Path(facts[name]) for name in ("schemas", "file")}
    return Errand(**facts, delivery=delivery)


if __name__ == "__main__":
    main()
