"""Messages are signed, retried, given up, logged and replayed; to a real server, from both databases."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import Engine, select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ingestd.errors import Conflict, Invalid, Missing, Stale
from ingestd.store import audit, outbox
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading, writing
from ingestd.store.webhook_tables import webhook_messages
from ingestd.webhooks import endpoints, messages
from ingestd.webhooks.messages import PAUSES, Message
from ingestd.webhooks.sending import Sender
from tests.databases import ROOT
from tests.running import until
from tests.webhooks.listening import Listener, answer, listening


class Clock:
    """A clock that stands where it is put; the signature needs one that is right."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def sending(engine: Engine, clock: Clock, **facts: object) -> Iterator[Sender]:
    given = {"timeout": 5.0, "allow_private": True, "keep": timedelta(days=30), "look": 0.05, **facts}
    sender = Sender(engine=engine, clock=clock, **given)  # type: ignore[arg-type]
    thread = sender.start()
    try:
        yield sender
    finally:
        sender.stop()
        thread.join()


def deed() -> Deed:
    return Deed(actor=COMMAND_LINE, at=datetime.now(UTC))


def added(engine: Engine, url: str, *events: str) -> tuple[int, str]:
    with writing(engine) as connection:
        made, secret = endpoints.add(connection, deed(), url, events)
    return made.id, secret


def announced(engine: Engine, event: str = "pool.activated", number: int = 7) -> None:
    with writing(engine) as connection:
        outbox.announce(connection, event, datetime.now(UTC), lambda: {"lead_pool": number})


def log(engine: Engine, webhook: int) -> list[Message]:
    with reading(engine) as connection:
        return messages.latest(connection, webhook, limit=50)[::-1]


def states(engine: Engine, webhook: int) -> list[str]:
    return [each.state for each in log(engine, webhook)]


def tried(engine: Engine, webhook: int, times: int) -> bool:
    return log(engine, webhook)[0].attempts == times


def statuses(engine: Engine, message: int) -> list[int | None]:
    with reading(engine) as connection:
        return [each.status for each in messages.attempts(connection, message)]


def test_a_stop_does_not_wait_for_the_next_look(engine: Engine, clock: Clock) -> None:
    with sending(engine, clock, look=3600.0) as sender:
        until(lambda: sender.forgot_at > 0, "it looks for the first time")
    # `sending` has waited for the thread's end.


def test_an_event_arrives_signed_and_is_logged(engine: Engine, listener: Listener, clock: Clock) -> None:
    webhook, secret = added(engine, listener.url, "pool.activated")
    listener.reply = lambda handler: answer(handler, 200, b"thanks\0" + b"x" * 9000)
    announced(engine)
    announced(engine, "pool.deactivated")  # nobody wants it
    with sending(engine, clock):
        until(lambda: states(engine, webhook) == ["delivered"], "the message to arrive")
    ((headers, body),) = listener.heard
    told = Webhook(secret).verify(body, headers)
    assert (told["type"], told["data"]) == ("pool.activated", {"lead_pool": 7})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    (message,) = log(engine, webhook)
    assert headers["webhook-id"] == message.message
    assert message.next_at is None
    with reading(engine) as connection:
        (attempt,) = messages.attempts(connection, message.id)
    assert (attempt.status, attempt.error) == (200, "")
    assert attempt.answer.startswith("thanks\ufffdx")
    assert len(attempt.answer) == messages.LONGEST_ANSWER


def test_what_is_rolled_back_is_not_told(engine: Engine, listener: Listener) -> None:
    webhook, _ = added(engine, listener.url)
    with writing(engine) as connection:
        outbox.announce(connection, "pool.activated", datetime.now(UTC), lambda: {"lead_pool": 1})
        connection.rollback()
    assert log(engine, webhook) == []


def test_a_server_that_fails_and_comes_back_gets_it_by_the_same_name(
    engine: Engine, listener: Listener, clock: Clock
) -> None:
    webhook, _ = added(engine, listener.url)
    listener.reply = lambda handler: answer(handler, 500, b"broken")
    announced(engine)
    with sending(engine, clock):
        until(lambda: log(engine, webhook)[0].attempts == 1, "a first attempt")
        first = log(engine, webhook)[0]
        assert first.state == "pending"
        assert first.next_at is not None
        assert first.next_at > clock()
        listener.reply = lambda handler: answer(handler, 204)
        clock.ahead += PAUSES[0]
        until(lambda: states(engine, webhook) == ["delivered"], "it to arrive")
    assert len({headers["webhook-id"] for headers, _ in listener.heard}) == 1
    assert statuses(engine, first.id) == [500, 204]


def test_it_is_given_up_after_days_and_can_be_replayed(engine: Engine, listener: Listener, clock: Clock) -> None:
    webhook, _ = added(engine, "http://127.0.0.1:9/nobody")
    announced(engine)
    message = log(engine, webhook)[0].id
    with sending(engine, clock):
        for tries, pause in enumerate((*PAUSES, timedelta(0)), 1):
            until(partial(tried, engine, webhook, tries), f"attempt {tries}")
            clock.ahead += pause + timedelta(seconds=5)
        until(lambda: states(engine, webhook) == ["failed"], "it to be given up")
        assert clock.ahead > timedelta(days=3)
        assert statuses(engine, message) == [None] * (len(PAUSES) + 1)
        with writing(engine) as connection:
            endpoints.change(connection, deed(), webhook, {"url": listener.url})
            messages.replay(connection, webhook, message, clock())
        until(lambda: states(engine, webhook) == ["delivered"], "the replay to arrive")
    assert len(listener.heard) == 1


def test_whoever_answers_410_is_told_no_more(engine: Engine, listener: Listener, clock: Clock) -> None:
    webhook, _ = added(engine, listener.url)
    listener.reply = lambda handler: answer(handler, 410)
    announced(engine)
    announced(engine)
    with sending(engine, clock):
        until(lambda: states(engine, webhook) == ["failed", "failed"], "both to end")
    announced(engine)
    assert len(log(engine, webhook)) == 2
    with reading(engine) as connection:
        found = endpoints.known(connection, webhook)
        (last,) = audit.latest(connection, limit=1)
    assert (found.active, found.disabled_why) == (False, "it answered 410 Gone")
    assert (last.actor, last.action) == ("webhook endpoint", "webhook_disabled")
    with pytest.raises(Conflict, match="switched off"), writing(engine) as connection:
        messages.test(connection, webhook, clock())


def test_a_slow_server_is_left_and_holds_nobody_else_up(engine: Engine, listener: Listener, clock: Clock) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        """A byte now and then: each read ends in time, the whole never."""
        for byte in b"HTTP/1.0 200 OK\r\nX-Long: " + b"x" * 60:
            try:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    with listening() as quick:
        slow, _ = added(engine, listener.url)
        good, _ = added(engine, quick.url)
        listener.reply = drip
        announced(engine)
        with sending(engine, clock, timeout=1.5):
            until(lambda: states(engine, good) == ["delivered"], "the quick one to hear it")
            until(lambda: log(engine, slow)[0].attempts == 1, "the slow one to be left")
    with reading(engine) as connection:
        (attempt,) = messages.attempts(connection, log(engine, slow)[0].id)
    assert attempt.error == "no answer within 1.5 seconds"


def test_an_inner_address_and_a_redirect_to_one_are_refused(engine: Engine, listener: Listener, clock: Clock) -> None:
    inner, _ = added(engine, listener.url.replace("127.0.0.1", "localhost"))
    announced(engine)
    with sending(engine, clock, allow_private=False):
        until(lambda: log(engine, inner)[0].attempts == 1, "an attempt")
    assert listener.heard == []
    with reading(engine) as connection:
        (attempt,) = messages.attempts(connection, log(engine, inner)[0].id)
    assert "which is no address of the internet" in attempt.error
    with listening() as other:
        bouncing, _ = added(engine, listener.url)
        listener.reply = lambda handler: answer(handler, 302, Location=other.url)
        announced(engine)
        with sending(engine, clock):
            until(lambda: log(engine, bouncing)[0].attempts == 1, "an attempt")
        assert statuses(engine, log(engine, bouncing)[0].id) == [302]
        assert other.heard == []


_SENDER = """
import sys, threading
from datetime import timedelta
from ingestd.store.engine import open_engine
from ingestd.store.ledger import now
from ingestd.webhooks.sending import Sender
engine = open_engine(sys.argv[1])
Sender(engine=engine, clock=now, timeout=50.0, allow_private=True, keep=timedelta(days=1)).start().join()
"""


def test_what_a_killed_sender_had_in_hand_is_sent_by_another_one(
    engine: Engine, database_url: str, listener: Listener, clock: Clock
) -> None:
    webhook, _ = added(engine, listener.url)
    listener.reply = lambda _handler: time.sleep(3)
    announced(engine)
    killed = subprocess.Popen([sys.executable, "-c", _SENDER, database_url], cwd=ROOT)
    try:
        until(lambda: listener.heard, "the first sender to begin")
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    listener.reply = lambda handler: answer(handler, 200)
    with sending(engine, clock):
        time.sleep(1.5)  # it is not sent again while it may still be in the hands of the other one
        assert len(listener.heard) == 1
        clock.ahead += messages.CLAIM
        until(lambda: states(engine, webhook) == ["delivered"], "the second sender to take it over")
    names = [headers["webhook-id"] for headers, _ in listener.heard]
    assert len(names) == 2
    assert len(set(names)) == 1


def test_two_senders_never_send_the_same_message_twice(engine: Engine, listener: Listener, clock: Clock) -> None:
    webhook, _ = added(engine, listener.url)
    for number in range(30):
        announced(engine, number=number)
    with sending(engine, clock), sending(engine, clock):
        until(lambda: set(states(engine, webhook)) == {"delivered"}, "all to arrive")
    names = [headers["webhook-id"] for headers, _ in listener.heard]
    assert len(names) == len(set(names)) == 30


def test_what_a_late_sender_brings_changes_nothing(engine: Engine, clock: Clock) -> None:
    webhook, _ = added(engine, "http://127.0.0.1:9/")
    announced(engine)
    (first,) = messages.claim(engine, clock(), limit=5)
    assert messages.claim(engine, clock(), limit=5) == []
    clock.ahead += messages.CLAIM
    (second,) = messages.claim(engine, clock(), limit=5)
    done = messages.Attempt(at=clock(), milliseconds=1, status=200)
    assert messages.settle(engine, second, done) == "delivered"
    assert messages.settle(engine, first, messages.Attempt(at=clock(), milliseconds=1, status=None)) == "overtaken"
    assert states(engine, webhook) == ["delivered"]


def test_endpoints_are_changed_switched_off_and_removed(engine: Engine, clock: Clock) -> None:
    webhook, secret = added(engine, "https://partner.example/told", "pool.emptied", "delivery.failed")
    with writing(engine) as connection:
        with pytest.raises(Stale):
            endpoints.change(connection, deed(), webhook, {"active": False}, seen="7")
        after = endpoints.change(connection, deed(), webhook, {"active": False}, seen="1")
    assert (after.active, after.version, after.events) == (False, 2, ("pool.emptied", "delivery.failed"))
    announced(engine, "pool.emptied")
    assert log(engine, webhook) == []
    with writing(engine) as connection:
        endpoints.change(connection, deed(), webhook, {"active": True, "events": []})
    announced(engine)
    with writing(engine) as connection:
        with pytest.raises(Conflict, match="already"):
            messages.replay(connection, webhook, log(engine, webhook)[0].id, clock())
        endpoints.remove(connection, deed(), webhook)
        told = audit.latest(connection, limit=20, subject=f"webhook:{webhook}")
        assert connection.scalars(select(webhook_messages.c.id)).all() == []
        with pytest.raises(Missing):
            endpoints.known(connection, webhook)
    assert secret not in str(told)
    assert [each.action for each in told][::-1] == [
        "webhook_added", "webhook_changed", "webhook_changed", "webhook_removed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "https://", "https://a:b@c.example/", "https://a.example/#x", "https://a.example/ b",
     "https://a.example:70000/", "file:///etc/passwd", "https://[::1/", "https://ä.example/"],
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_refused(engine: Engine, url: str) -> None:
    with pytest.raises(Invalid):
        added(engine, url)


def test_an_unknown_event_is_refused(engine: Engine) -> None:
    with pytest.raises(Invalid, match=r"pool\.activated"):
        added(engine, "https://a.example/", "pool.exploded")


def test_old_messages_are_forgotten_and_waiting_ones_are_not(engine: Engine, clock: Clock) -> None:
    webhook, _ = added(engine, "http://127.0.0.1:9/")
    announced(engine)
    (first,) = messages.claim(engine, clock(), limit=5)
    messages.settle(engine, first, messages.Attempt(at=clock(), milliseconds=1, status=200))
    announced(engine)
    assert messages.forget(engine, clock() + timedelta(days=1)) == 1
    assert states(engine, webhook) == ["pending"]


def test_a_port_that_nobody_has_is_told(engine: Engine, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    webhook, _ = added(engine, f"http://127.0.0.1:{port}/")
    announced(engine)
    with sending(engine, clock):
        until(lambda: log(engine, webhook)[0].attempts == 1, "an attempt")
    with reading(engine) as connection:
        (attempt,) = messages.attempts(connection, log(engine, webhook)[0].id)
    assert attempt.error.startswith("ConnectError")
