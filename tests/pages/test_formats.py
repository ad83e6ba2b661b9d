"""How numbers, moments and states are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ingestd.model import Outcome, PoolState, State
from ingestd.web.pages import formats
from ingestd.web.pages.assets import following_the_system
from ingestd.web.pages.local import local_path
from ingestd.web.pages.rendering import Here


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0042, "4 ms"),
        (1.254, "1.25 s"),
        (59.94, "59.9 s"),
        (750, "12 min 30 s"),
        (3599.6, "1 h 0 min"),
        (11_100, "3 h 5 min"),
        (187_300, "2 d 4 h"),
        (None, "—"),
    ],
)
def test_lengths_of_time(value: float | None, told: str) -> None:
    assert formats.seconds(value) == told


@pytest.mark.parametrize(
    ("part", "whole", "told"),
    [
        (1, 3, "33.3 %"),
        (0, 3, "0.0 %"),
        (3, 3, "100 %"),
        (1, 100_000, "< 0.1 %"),
        (99_999, 100_000, "99.9 %"),
        (0, 0, "—"),
    ],
)
def test_a_share_that_is_not_nothing_or_all_is_not_written_so(part: int, whole: int, told: str) -> None:
    assert formats.percent(part, whole) == told


def test_sizes_have_the_units_of_the_limits() -> None:
    assert [formats.size(count) for count in (0, 1023, 1024, 35 * 1024 * 1024, None)] == [
        "0 B", "1,023 B", "1.0 kB", "35.0 MB", "—",
    ]  # fmt: skip


def test_a_moment_is_utc_until_the_browser_knows_better() -> None:
    noon = datetime(2026, 6, 1, 14, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert formats.moment(noon) == (
        '<time datetime="2026-06-01T12:00:05Z" title="2026-06-01 12:00:05 UTC">2026-06-01 12:00 UTC</time>'
    )
    assert formats.moment(None) == "—"
    assert "2026" in formats.moment(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("state", [*State, *PoolState, *Outcome])
def test_every_state_has_a_word_and_a_colour(state: str) -> None:
    assert formats.words(state) in formats.chip(state)
    assert state in formats._TONES or state == Outcome.DUPLICATE


def test_a_sentence_ends_once() -> None:
    assert [formats.sentence(text) for text in ("send it again", "Send it again.", "why?", "")] == [
        "send it again.", "Send it again.", "why?", "",
    ]  # fmt: skip


def test_a_chip_escapes_its_word() -> None:
    assert "<script>" not in formats.chip("<script>")


@pytest.mark.parametrize("wanted", ["/", "/deliveries?state=failed", "/deliveries/7#errors"])
def test_a_path_of_ours_is_gone_to(wanted: str) -> None:
    assert local_path(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    ["", "//evil.example", "https://evil.example/", "/\\evil.example", "\\/evil", "/\t/evil.example", "javascript:x",
     "evil", "/x\r\nSet-Cookie: a=b", "/login?next=/", "/logout", "/" + "x" * 3000],
)  # fmt: skip
def test_no_other_place_is(wanted: str) -> None:
    assert local_path(wanted) == "/"


def test_an_address_beside_this_one_keeps_what_is_not_changed() -> None:
    here = Here(
        path="/deliveries", query=(("source", "a b"), ("state", "failed"), ("state", "refused"), ("cursor", "x"))
    )
    assert here.to() == "/deliveries?source=a+b&state=failed&state=refused"
    assert here.to(state=None, cursor="y") == "/deliveries?source=a+b&cursor=y"
    assert here.to(source=None, state=()) == "/deliveries"


def test_dark_rules_hold_again_where_the_system_is_dark() -> None:
    css = "/* [data-bs-theme=dark]{x} */a{b:c}[data-bs-theme=dark] .x,[data-bs-theme=dark]{color:red}"
    assert following_the_system(css) == (
        "@media (prefers-color-scheme: dark){[data-bs-theme=auto] .x,[data-bs-theme=auto]{color:red}}"
    )
