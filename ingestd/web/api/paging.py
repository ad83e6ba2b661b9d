"""Pages of long lists: by the key of the last row, never by counting, so a page costs the same wherever it is."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

from ingestd.errors import Invalid
from ingestd.store import texts

MOST = 200

Limit = Annotated[int, Query(ge=1, le=MOST, description="at most so many")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before")]


def cursor(*key: Any) -> str:
    """Where the next page begins, as a word that means nothing to others."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def number_of(word: str | None) -> int | None:
    """The number in a cursor of a list that goes by number; raises Invalid."""
    key = key_of(word, int)
    if key is None:
        return None
    number: int = key[0]
    return number


def key_of(word: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The key in a cursor, of these kinds; raises Invalid."""
    if word is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if not (isinstance(found, list) and len(found) == len(kinds) and all(map(_fits, found, kinds))):
        raise Invalid("cursor_unusable", "the cursor is none that this list has given", field="query.cursor")
    return tuple(found)


def word_of(word: str | None) -> str | None:
    """The text in a cursor of a list that goes by a text; raises Invalid."""
    key = key_of(word, str)
    if key is None:
        return None
    text: str = key[0]
    return text


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, str) and not texts.kept(value):
        return False
    return type(value) is kind and (not isinstance(value, int) or 0 <= value < 2**63)


def following(numbers: Sequence[int], limit: int) -> str | None:
    """The cursor after a page, when more than the page was found; None after the last one."""
    return cursor(numbers[limit - 1]) if len(numbers) > limit else None
