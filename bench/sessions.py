"""A thousand sessions at once, each sends one small file, while a bystander asks NOOP the whole time.

The bystander is a process of its own, so that what it waits is the server's doing and not the crowd's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from bench import clients, servers
from bench.results import Result
from bench.servers import Place, Receiver

CROWD = 1_000
FILE = b"name,phone\r\n" + b"Somebody,+45 26 00 00 01\r\n" * 8
PAUSE_SECONDS = 0.002
"""between two NOOPs of the bystander"""
GOAL_SECONDS = 0.1

Waits = list[tuple[float, float]]
"""when a NOOP was sent, and the seconds until its answer"""


@dataclass(frozen=True, kw_only=True)
class Crowded:
    """One run."""

    begun: float
    inside: float
    """when every session was logged in"""
    ended: float
    """when the last file was answered"""
    landed: int
    waits: Waits


class Visitor:
    """One session of the crowd; a thousand of them share a loop."""

    def __init__(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool) -> None:
        self._place, self._reader, self._writer, self._tls = place, reader, writer, tls

    @classmethod
    async def enter(cls, place: Place, *, tls: bool) -> Self:
        """Connects and logs in."""
        reader, writer = await asyncio.open_connection(place.host, place.port)
        visitor = cls(place, reader, writer, tls=tls)
        await visitor._expect("220")
        if tls:
            await visitor._ask("AUTH TLS", "234")
            await writer.start_tls(clients.trusting())
            await visitor._ask("PBSZ 0", "200")
            await visitor._ask("PROT P", "200")
        await visitor._ask(f"USER {place.login}", "331")
        await visitor._ask(f"PASS {place.password}", "230")
        return visitor

    async def send(self, name: str) -> None:
        """Sends the file and waits until it is answered."""
        told = await self._ask("EPSV", "229")
        port = int(told[told.index("|||") + 3 :].split("|")[0])
        _, data = await asyncio.open_connection(self._place.host, port)
        await self._ask(f"STOR {self._place.folder}/{name}", "1")
        if self._tls:
            await data.start_tls(clients.trusting())
        data.write(FILE)
        data.close()
        await data.wait_closed()
        await self._expect("226")

    def leave(self) -> None:
        """Closes the session without a word."""
        self._writer.close()

    async def _ask(self, command: str, expected: str) -> str:
        self._writer.write(f"{command}\r\n".encode())
        return await self._expect(expected)

    async def _expect(self, expected: str) -> str:
        line = (await self._reader.readline()).decode()
        while line[3:4] == "-":
            line = (await self._reader.readline()).decode()
        assert line.startswith(expected), f"{line!r} instead of {expected}"
        return line


def measure(rounds: int) -> list[Result]:
    """Prints the table; returns the worst wait of each kind."""
    results = []
    print(f"\n{CROWD:,} sessions at once, each sends one file of {len(FILE)} bytes; every round.")
    print("The login's password is hashed at next to no cost here. A bystander asks NOOP all the time.\n")
    print(f"{'':<6} {'landed':>7} {'':<8} {'time':>8}   {'NOOPs':>6} {'p50':>9} {'p99':>9} {'worst':>9}")
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as made, ExitStack() as stack:
        folder = Path(made)
        receiver = Receiver(folder=folder / "ingestd", tls=servers.certificate(folder))
        stack.callback(receiver.stop)
        kinds = {"FTP": False, "FTPS": True} if clients.offers_tls(receiver.place) else {"FTP": False}
        for name, tls in kinds.items():
            _run(receiver, 20, tls=tls)  # warms up
            worst = 0.0
            for _ in range(rounds):
                run = _run(receiver, CROWD, tls=tls)
                _show(name, run)
                receiver.clear()
                worst = max(worst, *(seconds for _, seconds in run.waits))
            results.append(_result(name, worst))
    return results


def _result(name: str, worst: float) -> Result:
    return Result(
        what=f"{CROWD:,} {name} sessions at once",
        goal=f"all landed, nobody waits > {GOAL_SECONDS * 1000:.0f} ms",
        measured=f"all landed, worst {worst * 1000:.0f} ms",
        ratio=f"{worst / GOAL_SECONDS:.2f} x",
        met=worst <= GOAL_SECONDS,
    )


def _show(name: str, run: Crowded) -> None:
    phases = {"logins": (run.begun, run.inside), "uploads": (run.inside, run.ended)}
    told = f"{name:<6} {run.landed:>7,}"
    for phase, (first, last) in phases.items():
        waits = [seconds for sent, seconds in run.waits if first <= sent + seconds and sent <= last]
        p50, p99 = statistics.median(waits), sorted(waits)[len(waits) * 99 // 100]
        times = " ".join(f"{seconds * 1000:>6.1f} ms" for seconds in (p50, p99, max(waits)))
        verdict = "" if max(waits) <= GOAL_SECONDS else f"   over the goal of {GOAL_SECONDS * 1000:.0f} ms"
        print(f"{told} {phase:<8} {last - first:>6.2f} s   {len(waits):>6} {times}{verdict}", flush=True)
        told = " " * len(told)


def _run(receiver: Receiver, count: int, *, tls: bool) -> Crowded:
    before = receiver.landed()
    with _bystander(receiver.place) as waits:
        begun, inside, ended = asyncio.run(_crowd(receiver.place, count, f"visit-{before}", tls=tls))
    landed = receiver.landed() - before
    assert landed == count, f"{landed} of {count} files landed"
    return Crowded(begun=begun, inside=inside, ended=ended, landed=landed, waits=waits)


async def _crowd(place: Place, count: int, name: str, *, tls: bool) -> tuple[float, float, float]:
    begun = time.perf_counter()
    visitors = await asyncio.gather(*(Visitor.enter(place, tls=tls) for _ in range(count)))
    inside = time.perf_counter()
    await asyncio.gather(*(visitor.send(f"{name}-{number}.csv") for number, visitor in enumerate(visitors)))
    ended = time.perf_counter()
    for visitor in visitors:
        visitor.leave()
    return begun, inside, ended


@contextmanager
def _bystander(place: Place) -> Iterator[Waits]:
    """Another client in a process of its own; its waits are there when the block has ended."""
    waits: Waits = []
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_ask_on, args=(place, there), daemon=True)
    process.start()
    here.recv()  # it is logged in
    yield waits
    here.send("stop")
    waits.extend(here.recv())
    process.join()


def _ask_on(place: Place, pipe: Connection) -> None:
    waits: Waits = []
    with clients.Client(place) as client:
        pipe.send("ready")
        while not pipe.poll(PAUSE_SECONDS):
            sent = time.perf_counter()
            client.ask("NOOP", "200")
            waits.append((sent, time.perf_counter() - sent))
    pipe.send(waits)
