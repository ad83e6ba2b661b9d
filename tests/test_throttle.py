"""The throttle: sessions and wrong passwords by address and login, with a clock that the test turns."""

from __future__ import annotations

from ingestd import throttle
from ingestd.throttle import Throttle, ThrottleRules


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_sessions_of_one_address_are_limited() -> None:
    """One that leaves makes room."""
    limited = Throttle(ThrottleRules(max_per_address=2))
    assert [limited.enter("192.0.2.1") for _ in range(2)] == ["", ""]
    assert "at most 2" in limited.enter("192.0.2.1")
    assert limited.enter("192.0.2.2") == ""
    limited.leave("192.0.2.1")
    assert limited.enter("192.0.2.1") == ""


def test_the_pause_doubles_up_to_its_limit() -> None:
    slow = Throttle(ThrottleRules(delay_seconds=1.0, longest_delay_seconds=5.0))
    assert [slow.failed("192.0.2.1", "acme") for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]


def test_an_address_is_banned_whatever_login_it_tries() -> None:
    """Until the time is over."""
    clock = Clock()
    throttled = Throttle(ThrottleRules(failures=3, ban_seconds=60.0), clock=clock)
    for login in ("a", "b", "c"):
        assert throttled.refusal("192.0.2.1", login) == ""
        throttled.failed("192.0.2.1", login)
    assert "try again in 60 seconds" in throttled.refusal("192.0.2.1", "d")
    assert "try again" in throttled.enter("192.0.2.1")
    assert throttled.refusal("192.0.2.2", "d") == ""
    assert throttled.bans() == 1
    clock.now = 61.0
    assert throttled.refusal("192.0.2.1", "d") == throttled.enter("192.0.2.1") == ""
    assert throttled.failed("192.0.2.1", "d") == 1.0


def test_a_login_is_banned_from_where_it_never_came_in() -> None:
    """Many addresses guess one password; the partner itself is not shut out."""
    throttled = Throttle(ThrottleRules(failures=3))
    throttled.succeeded("198.51.100.7", "acme")
    for number in range(3):
        throttled.failed(f"192.0.2.{number}", "acme")
    assert throttled.refusal("192.0.2.99", "acme")
    assert throttled.refusal("198.51.100.7", "acme") == ""


def test_a_secret_that_nobody_can_guess_is_banned_by_address_alone() -> None:
    throttled = Throttle(ThrottleRules(failures=3))
    for _ in range(3):
        throttled.failed("192.0.2.1")
    assert throttled.banned("192.0.2.1") > 0
    assert throttled.banned("192.0.2.2") == 0
    assert throttled.bans() == 1


def test_a_good_login_forgets_its_own_failures_only() -> None:
    throttled = Throttle(ThrottleRules(failures=3))
    throttled.failed("192.0.2.1", "acme")
    throttled.failed("192.0.2.1", "bravo")
    throttled.succeeded("192.0.2.1", "acme")
    throttled.failed("192.0.2.1", "bravo")
    assert throttled.refusal("192.0.2.1", "acme")


def test_what_counts_as_one_address() -> None:
    """An IPv6 customer has a whole network; IPv4 may come mapped."""
    assert throttle.network("::ffff:192.0.2.1") == throttle.network("192.0.2.1")
    assert throttle.network("2001:db8::1") == throttle.network("2001:db8::ffff:2")
    assert throttle.network("2001:db8:0:1::1") != throttle.network("2001:db8::1")
    assert throttle.network("fe80::1%lo") == "fe80::/64"
    assert throttle.network("local") == "local"


def test_the_memory_is_bounded() -> None:
    """An attacker with many addresses."""
    throttled = Throttle()
    for number in range(throttle._LONGEST_MEMORY + 10):
        throttled.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "acme")
    assert len(throttled._failures) == throttle._LONGEST_MEMORY


def test_guesses_in_many_sessions_are_no_quicker_than_in_one() -> None:
    """Until the last wrong one of an address is answered, none is looked at; a partner that is known there goes on."""
    clock = Clock()
    throttled = Throttle(ThrottleRules(delay_seconds=2.0), clock=clock)
    throttled.succeeded("198.51.100.7", "acme")
    assert throttled.too_soon("192.0.2.1", "acme") == 0.0
    assert throttled.failed("192.0.2.1", "bravo") == 2.0
    assert throttled.too_soon("192.0.2.1", "acme") == 2.0
    assert throttled.too_soon("192.0.2.9", "bravo") == 0.0
    throttled.failed("198.51.100.7", "charlie")
    assert throttled.too_soon("198.51.100.7", "acme") == 0.0
    assert throttled.too_soon("198.51.100.7", "charlie") == 2.0
    clock.now = 2.0
    assert throttled.too_soon("192.0.2.1", "acme") == 0.0
