"""One SFTP channel of a connection: what of the protocol is offered, and which end of a file is a real one.

asyncssh calls `SFTPServer.close` for a file that the client has closed, and for each file that is still open when the
channel ends. `channel.is_closing()` does not tell them apart: it is False when a client only sends the end of its
data, or nonsense, and True for a proper close whose sender left without waiting. So the handler says what was asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import asyncssh
from asyncssh import constants, sftp
from asyncssh.packet import SSHPacket
from asyncssh.stream import SSHServerStreamSession

from ingestd.accounts import Account
from ingestd.receive import names
from ingestd.receive.sftp_desk import Desk
from ingestd.receive.sftp_files import Files

VERSION = 3
"""The version of the protocol that every client speaks (draft-ietf-secsh-filexfer-02)."""

_LONGEST_DATA = 256 * 1024 - 1024  # bytes of one read or write that clients are told of, as by OpenSSH's server
_LONGEST_PACKET = 256 * 1024
_MOST_FILES = 64  # files and folders that one channel may have open


class Connection(Protocol):
    """The connection that a channel belongs to."""

    channels: set[Channel]

    @property
    def peer(self) -> str:
        """Address of the client."""

    def touch(self) -> None:
        """The client has sent something."""

    def audit(self, event: str, **facts: Any) -> None:
        """One line for operators."""


class Channel(SSHServerStreamSession[bytes]):
    """The only kind of channel that is to be had: no shell, no command, no subsystem but `sftp`."""

    def __init__(self, connection: Connection, desk: Desk, account: Account) -> None:
        super().__init__(None)
        self._connection = connection
        self._desk = desk
        self._account = account
        self.files: Files
        self.busy = False
        """True while a request is being answered"""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:  # type: ignore[override]
        """The channel is open. asyncssh's stub names the type of both ends here."""
        super().connection_made(chan)
        self.files = Files(chan, self._desk, self._account, self._connection.peer, self._connection.audit)
        self._connection.channels.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone; its handler finds out when it has read what came before."""
        self._connection.channels.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Bytes from the client."""
        self.touch()
        super().data_received(data, datatype)

    def touch(self) -> None:
        """The client is not idle."""
        self._connection.touch()

    def shell_requested(self) -> bool:
        """There is none."""
        return self._refuse("shell", "")

    def exec_requested(self, command: str) -> bool:
        """Nothing is run, also not for `scp`."""
        return self._refuse("exec", command)

    def subsystem_requested(self, subsystem: str) -> bool:
        """SFTP."""
        return subsystem == "sftp" or self._refuse("subsystem", subsystem)

    def _refuse(self, operation: str, argument: str) -> bool:
        self._connection.audit("command_refused", operation=operation, argument=names.label(argument))
        return False

    def session_started(self) -> None:
        """Answer requests until the channel ends."""
        assert self._chan is not None
        assert self._conn is not None
        reader, writer = asyncssh.SSHReader[bytes](self, self._chan), asyncssh.SSHWriter[bytes](self, self._chan)
        self._conn.create_task(self._serve(Handler(self, reader, writer)))

    async def _serve(self, handler: Handler) -> None:
        self._desk.channels.add(self)
        try:
            await handler.run()
        finally:
            self.files.drop_all()  # asyncssh has closed them, unless it met a bug
            self._desk.channels.discard(self)


Handle = Callable[[Any, SSHPacket], Awaitable[object]]


class Handler(sftp.SFTPServerHandler):
    """asyncssh's handler, cut down to what is offered: what is not in the table is answered as unsupported."""

    _extensions = [  # noqa: RUF012 - asyncssh's name and type; its own tells asyncssh's version
        (b"posix-rename@openssh.com", b"1"),
        (b"statvfs@openssh.com", b"2"),
        (b"lsetstat@openssh.com", b"1"),
        (b"limits@openssh.com", b"1"),
    ]

    def __init__(self, channel: Channel, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        super().__init__(channel.files, reader, writer, VERSION)
        self._channel = channel
        self._files = channel.files

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        """Answer a request. The next one waits, so what a client does not read is not piled up here."""
        self._channel.busy = True
        try:
            await super()._process_packet(pkttype, pktid, packet)
        finally:
            self._channel.busy = False
            self._channel.touch()
        if self._writer is not None and not self._writer.channel.is_closing():
            await self._writer.drain()

    async def _cleanup(self, exc: Exception | None) -> None:
        """The end of the channel. OpenSSH's scp takes a server that gives no exit status for one that has failed."""
        if self._writer is not None:
            chan = cast("asyncssh.SSHServerChannel[bytes]", self._writer.channel)
            chan.exit(1 if exc or self._files.open_files else 0)
        await super()._cleanup(exc)

    async def _process_close(self, packet: SSHPacket) -> None:
        self._files.asked_to_close = True
        try:
            await super()._process_close(packet)
        finally:
            self._files.asked_to_close = False

    async def _process_open(self, packet: SSHPacket) -> bytes:
        self._check_handles()
        return await super()._process_open(packet)

    async def _process_opendir(self, packet: SSHPacket) -> bytes:
        self._check_handles()
        return await super()._process_opendir(packet)

    def _check_handles(self) -> None:
        if len(self._file_handles) + len(self._dir_handles) >= _MOST_FILES:
            raise asyncssh.SFTPFailure(f"at most {_MOST_FILES} files may be open at once")

    async def _process_limits(self, packet: SSHPacket) -> sftp.SFTPLimits:
        packet.check_end()
        return sftp.SFTPLimits(_LONGEST_PACKET, _LONGEST_DATA, _LONGEST_DATA, _MOST_FILES)

    _packet_handlers: dict[int | bytes, Handle] = {  # type: ignore[assignment]  # noqa: RUF012 - as above
        constants.FXP_OPEN: _process_open,
        constants.FXP_CLOSE: _process_close,
        constants.FXP_OPENDIR: _process_opendir,
        b"limits@openssh.com": _process_limits,
        **{
            kind: cast("Handle", sftp.SFTPServerHandler._packet_handlers[kind])  # noqa: SLF001 - its table
            for kind in (
                constants.FXP_READ,
                constants.FXP_WRITE,
                constants.FXP_LSTAT,
                constants.FXP_FSTAT,
                constants.FXP_SETSTAT,
                constants.FXP_FSETSTAT,
                constants.FXP_READDIR,
                constants.FXP_REMOVE,
                constants.FXP_MKDIR,
                constants.FXP_RMDIR,
                constants.FXP_REALPATH,
                constants.FXP_STAT,
                constants.FXP_RENAME,
                b"posix-rename@openssh.com",
                b"statvfs@openssh.com",
                b"lsetstat@openssh.com",
            )
        },
    }
