"""Who looks at a page hears when something has changed; nobody waits for a thread."""

from __future__ import annotations

import asyncio
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing

import pytest

from ingestd import samples
from ingestd.errors import Unavailable
from ingestd.web.pages import live
from ingestd.web.pages.live import Bell, events
from tests.pages.browsing import Site, deliver

CHANGED = "event: changed\ndata: \n\n"
STILL_HERE = ": still here\n\n"


def test_a_listener_hears_of_a_delivery(site: Site) -> None:
    headers = site.client("admin").headers
    with closing(http.client.HTTPConnection("127.0.0.1", site.api.port, timeout=20)) as connection:
        connection.request("GET", "/deliveries/live", headers=headers)
        response = connection.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.readline() == b"retry: 2000\n"
        before = threading.active_count()
        deliver(site.house, "heard.csv", samples.clean(3, start=130_000), "nordlead", load=False)
        assert response.readline() == b"\n"
        assert response.readline() == b"event: changed\n"
        assert threading.active_count() <= before + 1


def test_too_many_listeners_are_told_to_ask_instead(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_LISTENERS", 0)
    assert site.client("admin").ask("GET", "/deliveries/live").status == 503


def test_one_look_serves_all_and_nobody_looks_when_nobody_listens() -> None:
    looks = 0

    def look() -> str:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Unavailable("away")
        return "a" if looks < 5 else "b"

    bell = Bell(look=look, seconds=0.01)

    async def hear() -> list[str]:
        heard = []
        async with aclosing(events(bell, heartbeat=0.1)) as stream:
            async for event in stream:
                heard.append(event)
                if CHANGED in heard and heard[-1] == STILL_HERE:
                    break
        return heard

    async def scene() -> list[list[str]]:
        heard = await asyncio.gather(*(hear() for _ in range(5)))
        assert bell.task is not None
        await asyncio.wait_for(bell.task, 60)  # the watch ends by itself
        return heard

    with ThreadPoolExecutor(1) as apart:  # the browser of other tests has a loop in this thread
        each_heard = apart.submit(lambda: asyncio.run(scene())).result()
    assert bell.listeners == 0
    for heard in each_heard:
        assert heard[0] == "retry: 2000\n\n"
        assert heard.count(CHANGED) == 1
        assert set(heard[1:]) == {CHANGED, STILL_HERE}
