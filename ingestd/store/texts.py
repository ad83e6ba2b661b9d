"""What a store keeps as text."""

from __future__ import annotations

UNKEPT = "a text holds the character U+0000 or half a character, which cannot be kept"


def kept(text: str) -> bool:
    """False for what nobody means and no store keeps, so that it is refused before anything is asked.

    PostgreSQL has no U+0000 in a text. Half of a surrogate pair is no character: JSON can name one, `"\\ud800"`, and
    UTF-8 cannot write it.
    """
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
