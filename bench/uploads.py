"""1 to 64 clients send a file of 35 MB each, to ingestd's receiver and to vsftpd in turns.

ingestd hashes (SHA-256), fsyncs and writes its ledger before its 226; vsftpd does none of it. Every file that was sent
is compared byte by byte afterwards.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import clients, servers
from bench.results import Result
from bench.servers import Receiver, Server, Vsftpd

SIZE = 35 * 1024 * 1024 - 4096
"""bytes; as large as a source may send"""


MANY = 64
"""clients of whom one round is enough: they send as much as all the others together"""


@dataclass(kw_only=True)
class Rates:
    """What one server did with so many clients."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """seconds of processor that the server took"""

    def megabytes(self, count: int) -> float:
        """The median round in MB/s."""
        return count * SIZE / statistics.median(self.seconds) / 1e6


def measure(crowds: list[int], rounds: int) -> list[Result]:
    """Prints the table; returns the plain uploads."""
    print(
        f"\nUploads of {SIZE / 2**20:.1f} MiB a client, in turns; the median of {rounds} rounds, of {MANY} clients one."
    )
    print("The client is curl. ingestd: with SHA-256, fsync and ledger before 226. vsftpd: without.")
    print("With ALLO the client says how large the file is, as lftp does; else its end is looked at for 250 ms.\n")
    with tempfile.TemporaryDirectory(prefix="ingestd-bench-") as made, ExitStack() as stack:
        folder = Path(made)
        folder.chmod(0o755)  # vsftpd's sessions run as another user
        file = folder / "leads.csv"
        file.write_bytes(random.Random(7).randbytes(SIZE))
        tls = servers.certificate(folder)
        ours, theirs = Receiver(folder=folder / "ingestd", tls=tls), Vsftpd(folder=folder / "vsftpd", tls=tls)
        stack.callback(ours.stop)
        stack.callback(theirs.stop)
        print(f"{'':<8} {'clients':>7} {'ingestd':>12} {'vsftpd':>12} {'ratio':>8}   ingestd's processor a file")
        plain = _rows("FTP", (ours, theirs), file, crowds, rounds)
        _rows("FTP+ALLO", (ours, theirs), file, crowds, rounds)
        if clients.offers_tls(ours.place):
            _rows("FTPS", (ours, theirs), file, crowds, rounds)
        else:
            print("FTPS     this receiver does not offer TLS")
    return plain


def _rows(name: str, pair: tuple[Receiver, Vsftpd], file: Path, crowds: list[int], rounds: int) -> list[Result]:
    results = []
    for count in crowds:
        rates = Rates(), Rates()
        for number in range((rounds if count < MANY else 1) + 1):
            names = [f"{name}-{count}-{number}-{client}.csv" for client in range(count)]
            _round(pair[0], file, names, rates[0] if number else None, way=name)
            _round(pair[1], file, names, rates[1] if number else None, way=name)
        mine, bare = (rate.megabytes(count) for rate in rates)
        spent = f"{statistics.median(rates[0].processor) / count * 1000:6.0f} ms"  # vsftpd's processes come and go
        print(f"{name:<8} {count:>7} {mine:>7.0f} MB/s {bare:>7.0f} MB/s {mine / bare:>6.2f} x  {spent}", flush=True)
        results.append(
            Result(
                what=f"{name} upload, {count} at once",
                goal=">= vsftpd, which neither hashes nor fsyncs",
                measured=f"{mine:.0f} MB/s to {bare:.0f} MB/s",
                ratio=f"{mine / bare:.2f} x",
                met=mine >= bare,
            )
        )
    return results


def _round(server: Receiver | Vsftpd, file: Path, names: list[str], rate: Rates | None, *, way: str) -> None:
    """One server's turn. The first one of a row, without `rate`, warms up and is not counted."""
    os.sync()  # what an earlier turn left to be written would be this one's burden
    before = clients.cpu_seconds(server.pid)
    seconds = clients.send_together(server.place, file, names, tls=way == "FTPS", announces=way == "FTP+ALLO")
    if rate is not None:
        rate.seconds.append(seconds)
        rate.processor.append(clients.cpu_seconds(server.pid) - before)
    _check(server, file, names)
    server.clear()


def _check(server: Server, file: Path, names: list[str]) -> None:
    data = file.read_bytes()
    server.check(names, data, hashlib.sha256(data).hexdigest())
