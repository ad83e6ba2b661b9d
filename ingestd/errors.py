"""The two ways a delivery can fail, and the one way the set-up can be wrong."""

from __future__ import annotations


class IngestdError(Exception):
    """The root of everything that ingestd raises on purpose."""


class Rejected(IngestdError):
    """Theirs: the file itself is at fault. Never retried, always explained to the partner.

    `code` is a stable word for programs (`empty_file`), `message` a sentence for a partner, `suggestion` what to do.
    """

    def __init__(self, code: str, message: str, *, suggestion: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion
        self.line = line


class Unavailable(IngestdError):
    """Ours: a disk, a database or a network is away. The work stays queued and is tried again."""


EXIT_MISCONFIGURED = 78
"""The exit code of a configuration error (sysexits.h, EX_CONFIG): starting again mends nothing."""


class Misconfigured(IngestdError):
    """What an operator wrote cannot be used. Names the file, the key and the value; nothing was started or changed."""

    def __init__(self, where: str, key: str, message: str) -> None:
        super().__init__(f"{where}: {key}: {message}")
        self.where = where
        self.key = key
        self.message = message
