"""The two ways a delivery can fail, the ways a request can, and the one way the set-up can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class IngestdError(Exception):
    """The root of everything that ingestd raises on purpose."""


class Rejected(IngestdError):
    """Theirs: the file itself is at fault. Never retried, always explained to the partner.

    `code` is a stable word for programs (`empty_file`), `message` a sentence for a partner, `suggestion` what to do,
    `facts` what it counts or names.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        suggestion: str = "",
        line: int | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion
        self.line = line
        self.facts = dict(facts or {})


class Unconfirmed(IngestdError):
    """Theirs, perhaps: columns match no field, and the source wants to be asked before they are ignored."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__(f"these columns match no field: {', '.join(columns)}")
        self.columns = columns


class Unavailable(IngestdError):
    """Ours: a disk, a database or a network is away. The work stays queued and is tried again."""


class Deadlocked(Unavailable):
    """Ours: this transaction and another one waited for each other, and the database undid this one, to be repeated."""


class Damaged(Unavailable):
    """Ours: what is kept is not what was written."""


class Refused(IngestdError):
    """Theirs: what somebody asked for cannot be done. The answer says why, and the store is as it was.

    `code` is a stable word for programs, `message` a sentence for people, `facts` what it counts or names.
    """

    def __init__(self, code: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.facts = facts


class Missing(Refused):
    """There is no such thing, or none that this caller may know of."""


class Invalid(Refused):
    """A value is none that can be kept; `facts["field"]` names it."""


class Conflict(Refused):
    """It would break what is there, or needs a word of confirmation first."""


class Stale(Refused):
    """Somebody has changed it since it was read."""


class Denied(Refused):
    """The caller lacks a permission, which `facts["permission"]` names, or is bound to something else."""


EXIT_MISCONFIGURED = 78
"""The exit code of a configuration error (sysexits.h, EX_CONFIG): starting again mends nothing."""


class Misconfigured(IngestdError):
    """What an operator wrote cannot be used. Names the file, the key and the value; nothing was started or changed."""

    def __init__(self, where: str, key: str, message: str) -> None:
        super().__init__(f"{where}: {key}: {message}")
        self.where = where
        self.key = key
        self.message = message
