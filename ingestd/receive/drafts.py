"""Drafts: files that somebody has uploaded on a page and not imported yet. None of them is a delivery.

A draft survives a power cut and is found by every node that shares the storage. It belongs to whoever has uploaded it,
and is swept away a day later. Its number begins with the moment of the upload, so a sweep need not open it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from ingestd.errors import Missing, Unavailable
from ingestd.spool import Incoming, Spool

log = structlog.get_logger()

KEPT = timedelta(days=1)

_NUMBER = re.compile(r"\d{8}T\d{6}-[0-9a-f]{32}")
_MOMENT = "%Y%m%dT%H%M%S"
_FACTS = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One uploaded file, with what was chosen before it was sent."""

    number: str
    user_id: int
    """who has uploaded it, and alone may see it"""
    campaign: str
    """the code"""
    owner: str
    """`team:<key>` or `user:<login>`"""
    name: str
    size: int
    """bytes"""
    sha256: str

    @property
    def uploaded_at(self) -> datetime:
        """When, to the second."""
        return _moment(self.number)


def keep(spool: Spool, incoming: Incoming, at: datetime, **facts: Any) -> Draft:
    """Keeps an uploaded file; `facts` are `user_id`, `campaign`, `owner` and `name`. Raises OSError and Unavailable."""
    number = f"{at.astimezone(UTC):{_MOMENT}}-{secrets.token_hex(16)}"
    landed = incoming.keep_as_draft(_file(number))
    draft = Draft(number=number, size=landed.size, sha256=landed.sha256, **facts)
    # The facts come last: a draft without them is not there.
    with spool.drafts.new(_folder(number)) as folder:
        folder.write(_FACTS, json.dumps(dataclasses.asdict(draft)).encode())
    return draft


def get(spool: Spool, number: str, user_id: int, at: datetime) -> Draft:
    """A draft of this user; raises Missing when there is none, or no longer, and Unavailable."""
    try:
        if not _NUMBER.fullmatch(number) or at - _moment(number) > KEPT:
            raise _gone()
        told = json.loads(spool.drafts.read(f"{_folder(number)}/{_FACTS}"))
    except (FileNotFoundError, ValueError) as problem:
        raise _gone() from problem
    except OSError as problem:
        raise Unavailable(f"the draft {number} cannot be read: {problem}") from problem
    draft = Draft(**told)
    if draft.user_id != user_id:
        raise _gone()
    return draft


def pieces(spool: Spool, draft: Draft) -> Iterator[bytes]:
    """The bytes of a draft in pieces; raises Missing and Unavailable."""
    try:
        yield from spool.drafts.pieces(_file(draft.number))
    except FileNotFoundError as problem:
        raise _gone() from problem
    except OSError as problem:
        raise Unavailable(f"the draft {draft.number} cannot be read: {problem}") from problem


def copy(spool: Spool, draft: Draft) -> Incoming:
    """A draft as a temporary file, which is landed or closed by the caller; raises Missing and Unavailable."""
    try:
        incoming = spool.open(limit=max(draft.size, 1))
    except OSError as problem:
        raise Unavailable(f"the draft {draft.number} cannot be copied: {problem}") from problem
    try:
        for piece in pieces(spool, draft):
            incoming.write(piece)
    except BaseException:
        incoming.abort()
        raise
    return incoming


def discard(spool: Spool, number: str) -> None:
    """Forgets a draft: its facts first, so it is not seen without its file."""
    spool.drafts.discard(f"{_folder(number)}/{_FACTS}")
    spool.drafts.tidy(_folder(number))
    spool.drafts.discard(_file(number))


def sweep(spool: Spool, at: datetime) -> int:
    """Removes what is older than a day; how many drafts it were. Raises Unavailable."""
    old = {number for number in _numbers(spool) if at - _moment(number) > KEPT}
    for number in old:
        discard(spool, number)
    if old:
        log.info("drafts_swept", drafts=len(old))
    return len(old)


def _numbers(spool: Spool) -> Iterator[str]:
    for folder in ("files", "facts"):
        for found in spool.drafts.found(folder):
            number = found.key.split("/")[1]
            if _NUMBER.fullmatch(number):
                yield number


def _file(number: str) -> str:
    return f"files/{number}"


def _folder(number: str) -> str:
    return f"facts/{number}"


def _moment(number: str) -> datetime:
    return datetime.strptime(number.partition("-")[0], _MOMENT).replace(tzinfo=UTC)


def _gone() -> Missing:
    told = "this upload is not there any more: it was imported, is older than a day, or is somebody else's"
    return Missing("draft_unknown", told)
