"""Upper and lower case, as both databases know it: that of ASCII letters. Others are looked for in both their forms."""

from __future__ import annotations

from itertools import product

MOST_FORMS = 6
"""letters beyond ASCII of a value that are looked for in both cases; further ones only in small"""


def ascii_lower(text: str) -> str:
    """The text with its ASCII letters in small, as both databases lower it."""
    return "".join(char.lower() if char.isascii() else char for char in text)


def forms(text: str) -> list[str]:
    """What `lower` may make of a text of the same letters: each letter beyond ASCII in small or in capitals.

    >>> forms("Ærø")
    ['ærø', 'ærØ', 'Ærø', 'ÆrØ']
    """
    left, letters = MOST_FORMS, []
    for char in text:
        both = (char.lower(), char.upper())
        doubled = not char.isascii() and both[0] != both[1] and all(len(form) == 1 for form in both)
        letters.append(both if doubled and left else (char.lower() if len(char.lower()) == 1 else char,))
        left -= doubled and left > 0
    return ["".join(found) for found in product(*letters)]
