"""An FTP session: every command that the door offers."""

from __future__ import annotations

from pyftpdlib.handlers import FTPHandler

from ingestd.receive.ftp_facts import COMMANDS, FactCommands
from ingestd.receive.ftp_login import LoginCommands
from ingestd.receive.ftp_transfer import TransferCommands

# Appending and resuming would join bytes of two sessions, STOU goes past `open`, the others change what is not theirs.
_NOT_OFFERED = {"APPE", "STOU", "SITE CHMOD", "MFMT"}


class Session(FactCommands, TransferCommands, LoginCommands):
    """A session without TLS."""

    proto_cmds = {  # noqa: RUF012 - never changed
        **{name: each for name, each in FTPHandler.proto_cmds.items() if name not in _NOT_OFFERED},
        **COMMANDS,
    }
