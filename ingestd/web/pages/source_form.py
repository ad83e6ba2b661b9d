"""The definition of a source as a form has it: text in, values of `settings.Source` out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ingestd.errors import Invalid
from ingestd.organisation.changes import Record
from ingestd.settings.sources import DEFAULT_LIMIT
from ingestd.web.pages.filled import Filled, Line, Text, Word, decimal, text_of, title_of, whole

MEGABYTE = 1024 * 1024

_PLAIN = ("campaign", "unknown_code", "dates", "same_content", "on_unmapped")


class SourceForm(Filled):
    """A definition as it was typed."""

    name: Word = ""
    title: Word = ""
    campaign: Word = ""
    campaigns: list[Word] = Field([])
    default_owner: Word = ""
    unknown_code: Word = "reject"
    code_in_name: Line = ""
    dates: Word = "dmy"
    same_content: Word = "refuse"
    on_unmapped: Word = "ignore"
    expected_every_hours: Word = ""
    max_megabytes: Word = f"{DEFAULT_LIMIT / MEGABYTE:g}"
    max_rejected_rows: Word = ""
    max_rejected_percent: Word = ""
    demand: Word = ""
    wait_hours: Word = "24"
    trailer: Line = ""
    encoding: Word = ""
    delimiter: Word = ""
    quote: Word = ""
    mapping: Text = ""

    def values(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """What the form says, beside the facts that the source has; raises Invalid."""
        return {
            "title": title_of(self.title, "title"),
            **{field: getattr(self, field) for field in _PLAIN},
            "campaigns": [code for code in self.campaigns if code != self.campaign],
            "default_owner": self.default_owner or None,
            "code_in_name": self.code_in_name or None,
            "expected_every_hours": decimal(self.expected_every_hours, "expected_every_hours"),
            "limits": {**before.get("limits", {}), **self._limits()},
            "proof": {**before.get("proof", {}), **self._proof()},
            "dialect": {**before.get("dialect", {}), **self._dialect()},
            "mapping": self._mapping(before.get("mapping", {})),
        }

    def _limits(self) -> dict[str, Any]:
        megabytes = decimal(self.max_megabytes, "max_megabytes")
        percent = decimal(self.max_rejected_percent, "max_rejected_percent")
        return {
            "max_file_bytes": DEFAULT_LIMIT if megabytes is None else round(megabytes * MEGABYTE),
            "max_rejected_rows": whole(self.max_rejected_rows, "max_rejected_rows"),
            "max_rejected_share": None if percent is None else round(percent / 100, 8),
        }

    def _proof(self) -> dict[str, Any]:
        hours = decimal(self.wait_hours, "wait_hours")
        return {
            "demand": bool(self.demand),
            "trailer": self.trailer or None,
            **({"wait_hours": hours} if hours else {}),
        }

    def _dialect(self) -> dict[str, Any]:
        delimiter = "\t" if self.delimiter == "tab" else self.delimiter
        return {"encoding": self.encoding.strip() or None, "delimiter": delimiter or None, "quote": self.quote or None}

    def _mapping(self, before: Mapping[str, str]) -> dict[str, str]:
        """One column a line; untouched text leaves the mapping alone, whatever its headers are made of."""
        if self.mapping.splitlines() == mapping_text(before).splitlines():
            return dict(before)
        return dict(_column(line) for line in self.mapping.splitlines() if line.strip())


def filled(source: Record) -> SourceForm:
    """The form of a source that is there."""
    facts = source.facts
    limits, proof, dialect = facts["limits"], facts["proof"], facts["dialect"]
    share, hours = limits["max_rejected_share"], facts["expected_every_hours"]
    return SourceForm(
        tag=source.tag,
        title=facts["title"],
        campaigns=facts["campaigns"],
        default_owner=text_of(facts["default_owner"]),
        code_in_name=text_of(facts["code_in_name"]),
        expected_every_hours="" if hours is None else _plain(hours),
        max_megabytes=_plain(limits["max_file_bytes"] / MEGABYTE),
        max_rejected_rows=text_of(limits["max_rejected_rows"]),
        max_rejected_percent="" if share is None else _plain(round(share * 100, 6)),
        demand="yes" if proof["demand"] else "",
        wait_hours=_plain(proof["wait_hours"]),
        trailer=text_of(proof["trailer"]),
        encoding=text_of(dialect["encoding"]),
        delimiter="tab" if dialect["delimiter"] == "\t" else text_of(dialect["delimiter"]),
        quote=text_of(dialect["quote"]),
        mapping=mapping_text(facts["mapping"]),
        **{field: facts[field] for field in _PLAIN},
    )


def mapping_text(mapping: Mapping[str, str]) -> str:
    """`header = field`, one column a line; nothing after the sign ignores the column."""
    return "\n".join(f"{header} = {field}".rstrip() for header, field in mapping.items())


def _column(line: str) -> tuple[str, str]:
    header, sign, field = line.rpartition("=")
    if not sign or not header.strip():
        raise Invalid(
            "mapping_unusable", f"a line of the mapping is `header = field`; this is none: {line!r}", field="mapping"
        )
    return header.strip(), field.strip()


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
