"""How numbers, moments and states are written on pages: the filters of the templates. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from ingestd.model import Completeness, Outcome, PoolState, State

NOTHING = "—"
"""in the place of a value that is not there"""

_TONES: Mapping[str, str] = {
    State.RECEIVED: "calm",
    State.QUEUED: "calm",
    State.RUNNING: "busy",
    State.COMPLETED: "good",
    State.COMPLETED_WITH_REJECTS: "warn",
    State.AWAITING_CONFIRMATION: "warn",
    State.REFUSED: "bad",
    State.FAILED: "bad",
    State.CANCELLED: "off",
    State.DUPLICATE: "off",
    PoolState.AWAITING_CONFIRMATION: "warn",
    PoolState.LOADING: "busy",
    PoolState.ACTIVE: "good",
    PoolState.INACTIVE: "off",
    PoolState.UPLOAD_FAILED: "bad",
    PoolState.UNDONE: "off",
    Completeness.PROVEN: "good",
    Completeness.ASSUMED: "calm",
    Outcome.INSERTED: "good",
    Outcome.UPDATED: "good",
    Outcome.UNCHANGED: "calm",
    Outcome.DISCARDED: "off",
    Outcome.REJECTED: "bad",
    "error": "bad",
    "warning": "warn",
    "open": "good",
    "closed": "off",
    "active": "good",
    "inactive": "off",
}
"""good, busy, warn, bad, calm or off; the word stands beside the colour, so nobody needs to see it"""


def words(value: object) -> str:
    """A word of ours as people read it: `completed_with_rejects` is *Completed with rejects*."""
    text = str(value).replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def chip(value: object, tone: str | None = None) -> Markup:
    """A state: its word in its colour."""
    its = tone or _TONES.get(str(value), "calm")
    return Markup('<span class="chip chip-{}">{}</span>').format(its, words(value))


def number(value: float | None) -> str:
    """With separators: 1,234,567."""
    return NOTHING if value is None else f"{value:,}"


def counted(value: int, one: str, many: str = "") -> str:
    """`1 lead`, `2,000 leads`."""
    return f"{value:,} {one if value == 1 else many or f'{one}s'}"


def percent(part: float, whole: float) -> str:
    """A share; what is not quite nothing or all is never written as that."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{min(share, 99.9):.1f} %" if part != whole else "100 %"


def size(count: int | None) -> str:
    """Bytes, in units of 1,024 as the limits are (LEADS.md, "Limits")."""
    if count is None:
        return NOTHING
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1024 or unit == "GB":
            break
        amount /= 1024
    return f"{count:,} B" if unit == "B" else f"{amount:,.1f} {unit}"


def seconds(value: float | None) -> str:
    """A length of time: `4 ms`, `1.25 s`, `12 min 30 s`, `3 h 5 min`, `2 d 4 h`."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def moment(value: datetime | None) -> Markup | str:
    """A moment: UTC as it comes from the server, in the viewer's zone once the script has run, UTC on hover."""
    if value is None:
        return NOTHING
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{} UTC</time>').format(
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"), f"{utc:%Y-%m-%d %H:%M:%S}", f"{utc:%Y-%m-%d %H:%M}"
    )


def sentence(text: str) -> str:
    """With a full stop, unless it ends already; nothing stays nothing."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def brief(text: str, length: int = 12) -> Markup:
    """The beginning of a long word, such as a hash; the whole of it on hover."""
    if len(text) <= length:
        return Markup("<code>{}</code>").format(text)
    return Markup('<code title="{}">{}…</code>').format(text, text[:length])


def query(values: Mapping[str, Any]) -> str:
    """Parameters of an address; a list is the parameter several times, empty ones too."""
    return urlencode(values, doseq=True)


FILTERS: Mapping[str, Any] = {
    "words": words,
    "chip": chip,
    "number": number,
    "counted": counted,
    "percent": percent,
    "size": size,
    "seconds": seconds,
    "moment": moment,
    "sentence": sentence,
    "brief": brief,
    "query": query,
}
