"""Where a message may go: public addresses only, looked at when the connection is made.

A name may lead elsewhere between two looks, so the address that was judged is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_INTERNET = IPv6Network("2000::/3")  # all that is given out of IPv6 (RFC 4291); the rest is for other things, or none
_APART: tuple[IPv4Network | IPv6Network, ...] = (
    IPv6Network("2001:db8::/32"),  # documentation (RFC 3849)
    IPv6Network("3fff::/20"),  # the same (RFC 9637)
    IPv4Network("192.88.99.0/24"),  # the nearest relay to IPv6 once (RFC 7526)
)


class Forbidden(Exception):
    """The name leads to an address that no message may go to."""


def is_public(text: str) -> bool:
    """Whether an address is one of the internet: not private, loopback, link-local, multicast or reserved. Pure."""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inside = IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            address = inside
    if isinstance(address, IPv6Address) and address not in _INTERNET:
        return False
    apart = any(address in network for network in _APART)
    return address.is_global and not address.is_multicast and not apart


@dataclass(frozen=True, kw_only=True)
class Outside(httpcore.AsyncNetworkBackend):
    """Connects to addresses of the internet; with `allow_private` to any."""

    allow_private: bool
    wire: httpcore.AsyncNetworkBackend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises Forbidden when any address of a name is not public: one of them might be tried."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self.allow_private and (inside := [each for each in addresses if not is_public(each)]):
            raise Forbidden(f"{host} is {inside[0]}, which is no address of the internet; see webhooks.allow_private")
        return await self.wire.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Between httpcore's own retries, of which there are none."""
        await asyncio.sleep(seconds)
