"""Socket activation: listening sockets that systemd opened for us, such as port 21 (sd_listen_fds(3)).

The supervisor keeps them for its whole life and hands them to each receiver, so a port survives the death of its door.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from ingestd.errors import Misconfigured

FIRST = 3
"""SD_LISTEN_FDS_START: the first descriptor after stdin, stdout and stderr."""
DOORS = ("ftp", "ftps", "sftp", "http")
"""The names a socket may have, as `FileDescriptorName=` of its unit; `ftps` speaks TLS from the first byte."""
WHERE = "socket activation"


def handed_over(environment: MutableMapping[str, str], pid: int) -> dict[str, int]:
    """Descriptors by the name of their door; raises Misconfigured. Taken out of the environment: children get theirs.

    Variables that were meant for another process are none of ours.
    """
    meant = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "0")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if meant != str(pid) or not count.isdigit():
        return {}
    found: dict[str, int] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        _check(name, FIRST + number, found)
        found[name] = FIRST + number
    return found


def _check(name: str, descriptor: int, found: dict[str, int]) -> None:
    if name not in DOORS:
        told = f"no door is called {name!r}; FileDescriptorName= may be {', '.join(DOORS)}"
        raise Misconfigured(WHERE, "LISTEN_FDNAMES", told)
    if name in found:
        told = f"two sockets are called {name!r}; one that listens on [::] takes IPv4 too"
        raise Misconfigured(WHERE, "LISTEN_FDNAMES", told)
    if not _listens(descriptor):
        raise Misconfigured(WHERE, name, f"descriptor {descriptor} is no listening TCP socket; use Accept=no")


def _listens(descriptor: int) -> bool:
    try:
        handed = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        internet = handed.family in (socket.AF_INET, socket.AF_INET6) and handed.type == socket.SOCK_STREAM
        return internet and bool(handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    finally:
        handed.detach()


def here() -> dict[str, int]:
    """What was handed to this process; raises Misconfigured."""
    return handed_over(os.environ, os.getpid())
