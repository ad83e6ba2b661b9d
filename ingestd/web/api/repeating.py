"""`Idempotency-Key`: a request that comes again is answered again, and nothing is done twice.

The answer is kept in the transaction of the work. Requests that are being dealt with are only known to this process,
so none that dies can block another one; should two nodes deal with the same one, the slower is told to ask again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Self

from fastapi import Header, Request
from sqlalchemy import Connection

from ingestd.access.callers import Caller
from ingestd.errors import Invalid
from ingestd.store import idempotency
from ingestd.store.engine import reading
from ingestd.store.idempotency import Answer, Named
from ingestd.web.api.desk import Desk

_KEY = r"^[\x21-\x7e]{1,255}$"

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="names this request: with the same key and body it is answered again, and nothing is done twice",
        pattern=_KEY,
    ),
]
REPLAYED = "Idempotent-Replayed"
"""The header of an answer that was given before."""


@dataclass(kw_only=True)
class Turn:
    """One request's turn under its key; without a key it is nobody's business how often it comes."""

    desk: Desk
    caller: Caller
    key: str | None
    target: str
    """What is asked of whom, beside the body"""
    _mine: object = field(default_factory=object)

    def __enter__(self) -> Self:
        """Raises Conflict while another request with the key is being dealt with."""
        if self.key is not None and self.desk.in_flight.setdefault(self._place, self._mine) is not self._mine:
            raise idempotency.in_flight()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.key is not None:
            self.desk.in_flight.pop(self._place, None)

    @property
    def _place(self) -> tuple[str, str]:
        assert self.key is not None
        return self.caller.actor.name, self.key

    def before(self) -> Answer | None:
        """What was answered under this key, if the same was asked; slow, so not on the loop."""
        if self.key is None:
            return None
        with reading(self.desk.engine) as connection:
            return idempotency.find(connection, *self._place, self.desk.clock())

    def check(self, before: Answer, content: str) -> None:
        """Raises Invalid when the key was another request's; `content` is the SHA-256 of the body."""
        if before.digest != self._digest(content):
            told = "this Idempotency-Key was sent with another request; take a new one"
            raise Invalid("idempotency_key_reused", told, field="header.idempotency-key")

    def keep(self, connection: Connection, delivery_id: int, content: str, status: int, row: int | None = None) -> None:
        """Writes the answer down, in the transaction of the work."""
        if self.key is None:
            return
        at, digest = self.desk.clock(), self._digest(content)
        caller, key = self._place
        answer = Answer(digest=digest, status=status, delivery_id=delivery_id, row=row)
        named = Named(caller=caller, key=key, digest=digest)
        idempotency.keep(connection, named, answer, at=at, until=at + self.desk.answers_last)

    def _digest(self, content: str) -> str:
        return hashlib.sha256(f"{self.target}\n{content}".encode()).hexdigest()


def key_of(text: str) -> str | None:
    """A key that stands elsewhere than in the header; None when it is empty. Raises Invalid."""
    if text and not re.fullmatch(_KEY, text):
        raise Invalid("value_unusable", "a key has up to 255 visible characters of ASCII", field="body.idempotency_key")
    return text or None


def target(request: Request, **more: str) -> str:
    """Method, path, and what the query or the form says, in whatever order."""
    said = sorted((*request.query_params.multi_items(), *more.items()))
    return f"{request.method} {request.url.path} {said!r}"
