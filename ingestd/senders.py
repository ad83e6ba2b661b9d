"""The partners of the demo: each sends its files as a careful partner does, over the real doors."""

from __future__ import annotations

import asyncio
import ftplib
import io
import ssl
from pathlib import Path
from typing import Any

import asyncssh

from ingestd.samples import Sample

PATIENCE_SECONDS = 60.0


def send(doors: dict[str, Any], keys: Path, sample: Sample) -> str:
    """Sends a sample by its door; what the sender was told. `keys` has the daemon's own certificate."""
    if sample.door == "sftp":
        return asyncio.run(_by_sftp(doors["sftp"], sample))
    if sample.door == "folder":
        return _by_folder(Path(doors["folder"]["path"]), sample)
    client = ftplib.FTP_TLS(context=_trusting(keys)) if sample.door == "ftps" else ftplib.FTP()  # noqa: S321 - shown
    return _by_ftp(client, doors["ftp"], sample)


def certificate(keys: Path) -> Path:
    """The certificate that the daemon has made for itself, as an operator gives it to partners."""
    return keys / "self-signed.pem"


def _trusting(keys: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate(keys)))


def _by_ftp(client: ftplib.FTP, door: dict[str, Any], sample: Sample) -> str:
    with client:
        client.connect(door["host"], door["port"], timeout=PATIENCE_SECONDS)
        client.login(sample.source, f"{sample.source}-demo")
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
        try:
            answer = client.storbinary(f"STOR upload/{sample.name}", io.BytesIO(sample.data))
        except ftplib.error_perm as refused:
            answer = str(refused)
    return answer.split(", sha256")[0]


class _Known(asyncssh.SSHClient):
    """Trusts the host key whose fingerprint the daemon has told, as a partner does with the one the operator sent."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """True for the one key."""
        return key.get_fingerprint() == self._fingerprint


async def _by_sftp(door: dict[str, Any], sample: Sample) -> str:
    connection = asyncssh.connect(
        door["host"],
        door["port"],
        config=None,
        client_factory=lambda: _Known(door["fingerprint"]),
        known_hosts=([], [], []),
        client_keys=None,
        agent_path=None,
        username=sample.source,
        password=f"{sample.source}-demo",
    )
    async with connection as client, client.start_sftp_client() as sftp:
        async with sftp.open(f"upload/{sample.name}", "wb") as file:
            await file.write(sample.data)
        return f"closed, and kept: {(await sftp.stat(f'upload/{sample.name}')).size} bytes"


def _by_folder(root: Path, sample: Sample) -> str:
    """Written beside and moved in, as a careful partner does."""
    partial = root / sample.source / f"{sample.name}.part"
    partial.write_bytes(sample.data)
    partial.rename(root / sample.source / sample.name)
    return "moved in"
