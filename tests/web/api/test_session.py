"""Signing in and out: cookies, other sites' pages, guesses, bodies that are not looked at."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ingestd.access.permissions import Permission
from ingestd.store.ledger import now
from ingestd.throttle import Throttle, ThrottleRules
from tests.web.serving import PASSWORD, Api, Client, serving


@pytest.fixture
def api(embedded: Engine, tmp_path: Path) -> Iterator[Api]:
    with serving(embedded, tmp_path) as running:
        yield running


def sign_in(client: Client, login: str = "berlin-1", password: str = PASSWORD, **headers: str) -> tuple[int, str]:
    answer = client.ask("POST", "session", {"login": login, "password": password}, **headers)
    return answer.status, answer.json().get("code", "")


def test_a_user_signs_in_and_out(api: Api) -> None:
    user = api.user("berlin-1")
    me = user.get("me")
    assert (me["login"], me["team"], me["role"], me["permissions"]) == ("berlin-1", "berlin", "agent", ["dial"])
    gone = user.ask("DELETE", "session")
    assert gone.status == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert user.refused("GET", "me") == (401, "not_signed_in")


def test_the_cookie_is_for_this_site_s_requests_only(api: Api) -> None:
    api.user("berlin-1")
    answer = api.anybody().ask("POST", "session", {"login": "berlin-1", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("ingestd_session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=3600"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


def test_over_tls_the_cookie_is_secure(embedded: Engine, tmp_path: Path) -> None:
    """A proxy that is believed says that it was asked over TLS; who is not believed says nothing."""
    with serving(embedded, tmp_path, proxies=["127.0.0.1"]) as api:
        api.user("berlin-1")
        answer = api.anybody().ask(
            "POST", "session", {"login": "berlin-1", "password": PASSWORD}, X_Forwarded_Proto="https"
        )
        assert answer.headers["set-cookie"].startswith("__Host-ingestd_session=")
        assert "; Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "http://elsewhere"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Origin": "http://elsewhere"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 200),
    ],
)
def test_a_page_of_another_site_can_do_nothing(api: Api, headers: dict[str, str], status: int) -> None:
    user = api.user("admin")
    assert user.ask("GET", "me", **headers).status == 200
    renamed = user.ask("PATCH", "teams/berlin", {"name": "Berlin"}, **headers)
    assert renamed.status == status
    assert sign_in(api.anybody(), "admin", **headers)[0] == status


def test_the_site_s_own_origin_is_no_other(api: Api) -> None:
    user = api.user("admin")
    assert user.ask("PATCH", "teams/berlin", {"name": "B"}, Origin=f"http://127.0.0.1:{api.port}").status == 200


def test_a_key_is_no_cookie_so_no_page_can_misuse_it(api: Api) -> None:
    admin = api.user("admin")
    secret = admin.do("POST", "keys", {"name": "k", "permissions": ["manage_organisation"]})["key"]
    program = Client(port=api.port, headers={"Authorization": f"Bearer {secret}"})
    assert program.ask("PATCH", "teams/berlin", {"name": "B"}, Origin="http://elsewhere").status == 200


def test_wrong_logins_and_passwords_are_answered_alike(api: Api) -> None:
    api.user("berlin-1")
    one = api.anybody().ask("POST", "session", {"login": "berlin-1", "password": "wrong"})
    two = api.anybody().ask("POST", "session", {"login": "nobody", "password": "wrong"})
    assert (one.status, one.json()) == (two.status, two.json())
    assert one.json()["code"] == "credentials_wrong"
    assert sign_in(api.anybody(), "berlin-2", "") == (401, "credentials_wrong")  # has no password at all


def test_who_guesses_waits_and_is_banned_in_the_end(embedded: Engine, tmp_path: Path) -> None:
    at = [0.0]
    throttle = Throttle(ThrottleRules(delay_seconds=4.0, failures=3, ban_seconds=100.0), clock=lambda: at[0])
    with serving(embedded, tmp_path, throttle=throttle) as api:
        api.user("berlin-1")
        assert sign_in(api.anybody(), "hamburg-1", "wrong") == (401, "credentials_wrong")
        answer = api.anybody().ask("POST", "session", {"login": "hamburg-1", "password": "wrong"})
        assert (answer.status, answer.headers["retry-after"]) == (429, "4")
        for _ in range(2):
            at[0] += 20
            assert sign_in(api.anybody(), "hamburg-1", "wrong")[0] == 401
        at[0] += 20
        answer = api.anybody().ask("POST", "session", {"login": "berlin-1", "password": PASSWORD})
        assert (answer.status, answer.headers["retry-after"]) == (429, "80")
        at[0] += 81
        assert sign_in(api.anybody())[0] == 200


def test_keys_cannot_be_guessed_for_long(embedded: Engine, tmp_path: Path) -> None:
    throttle = Throttle(ThrottleRules(failures=3))
    with serving(embedded, tmp_path, throttle=throttle) as api:
        guess = Client(port=api.port, headers={"Authorization": "Bearer 0123456789ab.guess"})
        assert [guess.refused("GET", "me")[0] for _ in range(4)] == [401, 401, 401, 429]
        assert api.anybody().refused("GET", "me", Authorization="Basic YTpi") == (401, "scheme_unknown")


def test_who_knows_the_id_of_a_key_shuts_nobody_out(embedded: Engine, tmp_path: Path) -> None:
    throttle = Throttle(ThrottleRules(failures=3))
    with serving(embedded, tmp_path, throttle=throttle, proxies=["127.0.0.1"]) as api:
        partner = api.key(Permission.LEAD_POOLS)
        guessed = {"Authorization": partner.headers["Authorization"].partition(".")[0] + ".guess"}
        guess = Client(port=api.port, headers={"X-Forwarded-For": "192.0.2.9", **guessed})
        assert [guess.refused("GET", "me")[0] for _ in range(4)] == [401, 401, 401, 429]
        assert partner.ask("GET", "me", X_Forwarded_For="192.0.2.77").status == 200


def test_a_session_ends_after_its_hours(embedded: Engine, tmp_path: Path) -> None:
    at = [now()]
    with serving(embedded, tmp_path, clock=lambda: at[0], session_lasts=timedelta(hours=12)) as api:
        user = api.user("berlin-1")
        at[0] += timedelta(hours=11)
        assert user.get("me")["login"] == "berlin-1"
        at[0] += timedelta(hours=1)
        assert user.refused("GET", "me") == (401, "not_signed_in")


def test_one_s_own_password_is_changed_with_the_old_one(api: Api) -> None:
    user = api.user("berlin-1")
    new = "another long password"
    assert user.refused("PUT", "me/password", {"old": "wrong", "new": new}) == (401, "credentials_wrong")
    assert user.refused("PUT", "me/password", {"old": PASSWORD, "new": "short"}) == (422, "request_unusable")
    user.do("PUT", "me/password", {"old": PASSWORD, "new": new})
    assert user.refused("GET", "me") == (401, "not_signed_in")
    assert sign_in(api.anybody(), password=new)[0] == 200
    assert sign_in(api.anybody())[0] == 401


def first_answer(port: int, head: str, begun: bytes = b"") -> bytes:
    """What comes back when only the head of a request is sent, and no more of its body than is given."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head.replace("\n", "\r\n").encode() + begun)
        return client.recv(200)


def test_who_may_not_is_told_before_the_body_is_read(api: Api) -> None:
    head = "POST /api/v1/teams HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 500000\n{}\n"
    assert first_answer(api.port, head.format("")).startswith(b"HTTP/1.1 401")
    agent = api.user("berlin-1").headers["Cookie"]
    assert first_answer(api.port, head.format(f"Cookie: {agent}\n")).startswith(b"HTTP/1.1 403")


def test_a_body_that_is_too_large_is_refused_while_it_arrives(api: Api) -> None:
    cookie = api.user("admin").headers["Cookie"]
    head = f"POST /api/v1/teams HTTP/1.1\nHost: x\nContent-Type: application/json\nCookie: {cookie}\n"
    told = first_answer(api.port, f"{head}Content-Length: 1048577\n\n")
    assert told.startswith(b"HTTP/1.1 413")
    # Of a length that it does not tell, and without an end.
    endless = first_answer(api.port, f"{head}Transfer-Encoding: chunked\n\n", b"100001\r\n" + b"x" * 1_048_577)
    assert endless.startswith(b"HTTP/1.1 413")


def test_what_is_no_request_is_a_problem_that_repeats_no_value(api: Api) -> None:
    answer = api.anybody().ask("POST", "session", {"login": "a", "password": {"x": "geheim"}})
    assert answer.status == 422
    assert answer.json()["errors"][0]["field"] == "body.password"
    assert b"geheim" not in answer.body
    assert api.anybody().refused("POST", "session", b"{") == (422, "request_unusable")
    assert api.anybody().refused("GET", "nowhere") == (404, "")
    assert api.anybody().refused("PUT", "session") == (405, "")


def test_an_answer_does_not_wait_for_an_acknowledgement(api: Api) -> None:
    """Head and body are two packets; the second used to wait 40 ms for the client's word on the first."""
    seconds = []
    with closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)) as connection:
        for _ in range(30):
            begun = time.monotonic()
            connection.request("GET", "/api/v1/me")
            connection.getresponse().read()
            seconds.append(time.monotonic() - begun)
    assert min(seconds[1:]) < 0.03


def test_answers_carry_what_browsers_heed(api: Api) -> None:
    headers = api.anybody().ask("GET", "me").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
