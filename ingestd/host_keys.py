"""The host key by which partners know that an SFTP server is ours: configured, or made once at the first start."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from ingestd.errors import Misconfigured

FILE = "ingestd.toml"
KEY = "sftp.host_key"
MADE = "ssh_host_ed25519_key"
"""the file under `<home>/keys/` when none is configured"""


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """A private host key that can be used."""

    private: asyncssh.SSHKey
    path: Path

    @property
    def fingerprint(self) -> str:
        """As OpenSSH shows it to whoever connects for the first time: `SHA256:…`."""
        return self.private.get_fingerprint()


def host_key(configured: str, config: Path, home: Path) -> HostKey:
    """The configured key, relative to the configuration folder, or one in the home. Raises Misconfigured."""
    if configured:
        return read_host_key(config / configured)
    path = home / "keys" / MADE
    try:
        _make(path)
    except OSError as problem:
        raise Misconfigured(FILE, KEY, f"{path} cannot be made: {problem.strerror}") from problem
    return read_host_key(path)


def read_host_key(path: Path) -> HostKey:
    """The private key in a file. Raises Misconfigured, also when everybody could read it."""
    try:
        if path.stat().st_mode & 0o007:
            raise Misconfigured(FILE, KEY, f"{path} can be read by everybody; chmod 600 mends it")
        return HostKey(private=asyncssh.read_private_key(path), path=path)
    except OSError as problem:
        raise Misconfigured(FILE, KEY, f"{path} cannot be read: {problem.strerror}") from problem
    except (asyncssh.KeyImportError, ValueError) as problem:
        raise Misconfigured(FILE, KEY, f"{path} cannot be used as a private key: {problem}") from problem


def _make(path: Path) -> None:
    """Make a key unless there is one. It appears at once and whole; of two that start together one wins."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{MADE}.{secrets.token_hex(8)}")
    private = asyncssh.generate_private_key("ssh-ed25519", comment="ingestd")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private.export_private_key())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # a link never replaces a key that partners have seen
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
