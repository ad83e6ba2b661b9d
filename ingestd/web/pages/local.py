"""Addresses that a form or link may send a browser on to: of this house only."""

from __future__ import annotations

from urllib.parse import urlsplit

_LONGEST = 2_000


def local_path(wanted: str) -> str:
    """The address, if it is a path of ours that one may be sent on to; else the start."""
    return "/" if not is_local(wanted) or urlsplit(wanted).path in ("/login", "/logout", "/theme") else wanted


def is_local(wanted: str) -> bool:
    """Whether an address can only be a path of ours.

    Browsers take `//host` and `/\\host` for another host, and drop tabs and line ends before they look.
    """
    plain = wanted.isprintable() and wanted.isascii() and "\\" not in wanted and len(wanted) <= _LONGEST
    if not plain or not wanted.startswith("/") or wanted.startswith("//"):
        return False
    parts = urlsplit(wanted)
    return not parts.scheme and not parts.netloc
