"""Listening sockets of the doors."""

from __future__ import annotations

import socket

BACKLOG = 1024
"""connections that wait to be accepted"""


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on this address; `::` takes IPv4 too, whatever the system's setting. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
