"""Companions: small files beside a data file that say that it is whole, or what it has to be (RECEIVING.md).

`x.csv.done` and `x.csv.ok` say that `x.csv` is whole, `x.csv.sha256` and `x.csv.md5` what its digest is, `x.csv.count`
how many records it has. They are never deliveries themselves.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum

from ingestd.errors import Rejected
from ingestd.receive import names


class Kind(StrEnum):
    """What a companion says about its file."""

    MARKER = "marker"
    SHA256 = "sha256"
    MD5 = "md5"
    COUNT = "count"


SUFFIXES = {
    ".done": Kind.MARKER,
    ".ok": Kind.MARKER,
    ".sha256": Kind.SHA256,
    ".md5": Kind.MD5,
    ".count": Kind.COUNT,
}
"""What stands behind the name of the data file; capitals do not count."""

LARGEST = 1024 * 1024
"""bytes of a companion that is read; a list of the digests of ten thousand files is smaller"""

_MOST_DIGITS = 9
"""of a count: more records than any file may have; stores keep it as an integer"""

_COMPANION = re.compile(r"(.+)(\.(?:done|ok|sha256|md5|count))", re.IGNORECASE | re.ASCII | re.DOTALL)
_DIGITS = {Kind.SHA256: 64, Kind.MD5: 32}  # hexadecimal

# A number that stands by itself: no part of a name, a date, a time or a fraction. Thousands may be set apart.
_NUMBER = re.compile(r"(?<![\w.,-])(?<![0-9]:)[0-9]+(?:[.,'][0-9]{3})*(?!\w|[-.,':][0-9])")


def kind_of(name: str) -> tuple[str, Kind] | None:
    """The name of the data file that a companion speaks about, and what it says; None for any other file."""
    found = _COMPANION.fullmatch(name)
    return (found[1], SUFFIXES[found[2].lower()]) if found else None


def parse(kind: Kind, content: bytes, name: str) -> str:
    """What a companion says about the data file `name`; raises Rejected when it cannot be read.

    A lower-case hexadecimal digest, or a count as digits, or "" for a marker, whose content means nothing.
    """
    if kind is Kind.MARKER:
        return ""
    text = _text(content, name)
    return _count(text, name) if kind is Kind.COUNT else _digest(kind, text, name)


def _unreadable(name: str, why: str) -> Rejected:
    suggestion = "write the digest, or the number of records, alone into the companion"
    return Rejected("companion_unreadable", f"the companion of {name} {why}", suggestion=suggestion)


def _text(content: bytes, name: str) -> str:
    """Text as UTF-8, as UTF-16 with its mark (what PowerShell's `>` writes), or as names are read."""
    if len(content) > LARGEST:
        raise _unreadable(name, f"is larger than {LARGEST} bytes")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as problem:
            raise _unreadable(name, "is no UTF-16 text, though it begins like one") from problem
    return names.label(content.decode("utf-8", "surrogateescape")).removeprefix("\ufeff")


def _count(text: str, name: str) -> str:
    found = _NUMBER.search(text.replace(name, " "))
    if found is None:
        raise _unreadable(name, "has no whole number in it")
    count = re.sub(r"[.,']", "", found[0]).lstrip("0") or "0"
    if len(count) > _MOST_DIGITS:
        raise _unreadable(name, "gives a number that no file has records")
    return count


def _digest(kind: Kind, text: str, name: str) -> str:
    """The line that names the file counts; when none names any file, or there is one line only, that one."""
    lines = list(_lines(kind, text))
    named = [digest for digest, said in lines if said and _same(said, name)]
    found = set(named or [digest for digest, said in lines if not said or len(lines) == 1])
    if len(found) == 1:
        return found.pop()
    if found:
        raise _unreadable(name, "gives several digests for it")
    if lines:
        raise _unreadable(name, f"names other files, not {name}")
    raise _unreadable(name, f"has no {kind.upper()} digest of {_DIGITS[kind]} hexadecimal digits in it")


def _lines(kind: Kind, text: str) -> Iterator[tuple[str, str]]:
    """Digest and file name, which may be empty, of every line that has a digest; other lines are remarks."""
    digest = rf"(?P<digest>[0-9A-Fa-f]{{{_DIGITS[kind]}}})"
    algorithm = "SHA(?:2-)?256" if kind is Kind.SHA256 else "MD5"
    forms = (
        rf"\\?{digest}(?:[ \t]+(?P<name>.*))?",  # sha256sum, and the digest alone
        rf"\\?{algorithm} ?\((?P<name>.*)\) ?= ?{digest}",  # BSD, openssl dgst
        rf"{algorithm}[ \t]+{digest}[ \t]+(?P<name>.*)",  # the table of PowerShell's Get-FileHash
    )
    for line in text.splitlines():
        for form in forms:
            if found := re.fullmatch(form, line.strip(), re.IGNORECASE | re.ASCII):
                yield found["digest"].lower(), (found["name"] or "").strip()
                break


def _same(said: str, name: str) -> bool:
    """Whether a path in a companion means the file. The sender's folders do not count, nor how accents are composed.

    A star before it says that the digest is of the bytes as they are (sha256sum).
    """
    said, name = (unicodedata.normalize("NFC", each) for each in (said, name))
    return said in (name, f"*{name}") or said.endswith((f"/{name}", f"\\{name}"))
