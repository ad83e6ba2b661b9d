"""Dialling over the API: one lead for one agent, held until its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from ingestd.access import keys, people
from ingestd.access.permissions import Permission
from ingestd.leads import dialling, do_not_call, placing
from ingestd.organisation import users
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import writing
from ingestd.store.ledger import now
from tests.leads.conftest import NOON, Desk
from tests.running import at_once
from tests.web.serving import Api, Client

AGENT = "copenhagen-1"
HERE = {"campaign": "DK-ENERGY"}
LEADS, AGENTS, CALLS = 10_000, 50, 2


def desk_of(api: Api) -> Desk:
    return Desk(engine=api.desk.engine)


def following(client: Client, **wish: Any) -> Any:
    return client.do("POST", "dial/next", {**HERE, **wish})


def test_a_lead_is_given_called_and_free_again(api: Api) -> None:
    desk = desk_of(api)
    first, second = desk.leads({}, {})
    agent, other = api.user(AGENT), api.user("copenhagen-2")
    given = following(agent, seconds=60)["lead"]
    assert (given["id"], given["locked_by"]) == (first, f"user:{AGENT}")
    assert following(other)["lead"]["id"] == second
    assert other.refused("POST", f"dial/{first}/result", {"status": "success"}) == (409, "lead_not_held")
    wish = {
        "status": "manual_redial_private",
        "scheduled_at": (now() + timedelta(hours=1)).isoformat(),
        "fields": {"city": "Lund"},
        "comment": "after lunch",
    }
    done = agent.do("POST", f"dial/{first}/result", wish)
    assert (done["status"], done["fields"]["city"], done["attempts"]) == ("manual_redial_private", "Lund", 1)
    assert (done["owner"], done["processed_by"], done["locked_by"]) == (f"user:{AGENT}", f"user:{AGENT}", None)
    assert agent.refused("POST", f"dial/{first}/result", wish) == (409, "lead_not_held")  # not counted twice
    told = agent.get(f"leads/{first}/history")["items"]
    assert {each["why"] for each in told if each["kind"] == "call"} == {"after lunch"}


def test_a_result_that_is_refused_changes_nothing(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent = api.user(AGENT)
    following(agent)
    before = agent.get(f"leads/{number}")
    for wrong, answer in (
        ({"status": "nothing", "fields": {"city": "Lund"}}, (422, "status_unknown")),
        ({"status": "unprocessed", "fields": {"city": "Lund"}}, (409, "status_not_allowed")),
        ({"status": "success", "fields": {"phone": "1"}}, (422, "lead_refused")),
    ):
        assert agent.refused("POST", f"dial/{number}/result", wrong) == answer
    assert agent.get(f"leads/{number}") == before


def test_a_lead_is_given_back_without_a_call(api: Api) -> None:
    (number,) = desk_of(api).leads({})
    agent = api.user(AGENT)
    following(agent)
    assert agent.do("POST", f"dial/{number}/release")["locked_by"] is None
    assert agent.refused("POST", f"dial/{number}/release") == (409, "lead_not_held")
    assert following(api.user("copenhagen-2"))["lead"]["id"] == number
    assert api.user("berlin-1").refused("POST", f"dial/{number}/release") == (404, "lead_unknown")


def test_whoever_was_given_a_lead_gets_it_again_until_its_result(api: Api) -> None:
    desk = desk_of(api)
    first, second, by_hand = desk.leads({}, {}, {"priority": -1})
    (elsewhere,) = desk.leads({}, campaign="DK-FIBRE")
    agent, other = api.user(AGENT), api.user("copenhagen-2")
    agent.do("POST", f"leads/{by_hand}/lock")
    given = following(agent, seconds=60)["lead"]
    (better,) = desk.leads({"priority": 9})
    again = following(agent, seconds=600)["lead"]
    assert (given["id"], again["id"]) == (first, first)
    assert again["locked_until"] > given["locked_until"]
    assert following(other)["lead"]["id"] in (second, better)
    fibre = agent.do("POST", "dial/next", {"campaign": "DK-FIBRE"})["lead"]
    assert fibre["id"] == elsewhere
    assert agent.get(f"leads/{first}")["locked_by"] is None, "it went back to the others"
    assert agent.get(f"leads/{by_hand}")["locked_by"] == f"user:{AGENT}", "nobody was given it to call"
    told = [(each["kind"], each["field"]) for each in agent.get(f"leads/{first}/history")["items"]]
    assert told == [("dialled", "lock"), ("unlocked", "lock")]
    desk.set("leads", "id", elsewhere, attempts=99)  # it may not be called any more
    assert agent.do("POST", "dial/next", {"campaign": "DK-FIBRE"})["lead"] is None
    assert agent.get(f"leads/{elsewhere}")["locked_by"] is None
    assert following(agent)["lead"]["id"] in (first, better)


def test_a_listed_alternative_number_is_withheld_wherever_a_lead_is_told(api: Api) -> None:
    desk = desk_of(api)
    listed, free = desk.leads({"alternative_phone": "+4526141599"}, {"alternative_phone": "+4526141598"})
    agent = api.user(AGENT)
    assert agent.get(f"leads/{listed}")["fields"]["alternative_phone"] == "+4526141599"
    with writing(desk.engine) as connection:
        do_not_call.add(connection, ["+4526141599"], "DK-ENERGY", Deed(actor=COMMAND_LINE, at=NOON))
    given = following(agent)["lead"]
    every = {each["id"]: each for each in agent.get("leads")["items"]}
    for told in (given, agent.get(f"leads/{listed}"), every[listed]):
        assert (told["id"], told["fields"]["alternative_phone"], told["withheld"]) == (
            listed,
            None,
            ["alternative_phone"],
        )
    assert (every[free]["fields"]["alternative_phone"], every[free]["withheld"]) == ("+4526141598", [])
    assert desk.lead(listed).fields["alternative_phone"] == "+4526141599", "it is still there"


def test_when_there_is_none_it_says_why(api: Api) -> None:
    desk, agent = desk_of(api), api.user(AGENT)
    assert following(agent) == {"lead": None, "reasons": []}
    api.desk.shifts.known.clear()
    later = now() + timedelta(hours=1)
    held = {"locked_by_id": desk.owner("user:aarhus-1"), "locked_until": later}
    desk.leads({"scheduled_at": later}, {"scheduled_at": later + timedelta(hours=1)}, held, {"attempts": 8})
    desk.leads({"deactivated_at": NOON}, {"status_id": desk.status("busy")}, {"status_id": desk.status("success")})
    given = following(agent)
    assert given["lead"] is None
    told = {each["rule"]: (each["leads"], each["next_at"] is not None) for each in given["reasons"]}
    assert told == {
        "due": (2, True),
        "not_locked": (1, True),
        "attempts_left": (1, False),
        "not_deactivated": (1, False),
        "dialled": (1, False),
    }
    assert given["reasons"][0]["rule"] == "due"


def test_who_may_not_dial_is_told(api: Api) -> None:
    desk, agent = desk_of(api), api.user(AGENT)
    assert agent.refused("POST", "dial/next", {"campaign": "NONE"}) == (422, "campaign_unknown")
    desk.set("campaigns", "code", "DK-ENERGY", active=False)
    assert agent.refused("POST", "dial/next", HERE) == (409, "dialling_refused")
    admin = api.user("admin")
    admin.do("PUT", f"users/{AGENT}/permissions/dial", {"granted": False})
    assert agent.refused("POST", "dial/next", HERE) == (403, "permission_missing")
    assert api.key(Permission.DIAL).refused("POST", "dial/next", HERE) == (403, "key_without_user")


def test_an_agent_in_a_segment_is_given_its_leads_only(api: Api) -> None:
    desk, admin = desk_of(api), api.user("admin")
    _plain, mine = desk.leads({}, {"city": "Lund"})
    group = admin.do("POST", "segment-groups", {"project": "ENERGY", "name": "By city"})["id"]
    lund = {"field": "city", "op": "is", "value": "Lund"}
    segment = admin.do("POST", "segments", {"group": group, "name": "Lund", "filter": lund})["id"]
    placing.work(api.desk.engine)
    agent = api.user(AGENT)
    assert following(agent, segment=segment)["lead"]["id"] == mine
    agent.do("POST", f"dial/{mine}/result", {"status": "success"})
    assert following(agent, segment=segment)["lead"] is None
    assert agent.refused("POST", "dial/next", {**HERE, "segment": 99}) == (422, "segment_unknown")


def crew(api: Api) -> list[Client]:
    """Fifty agents of one team, each with a key."""
    deed = Deed(actor=COMMAND_LINE, at=NOON)
    with writing(api.desk.engine) as connection:
        for number in range(AGENTS):
            login = f"crew-{number}"
            users.create(connection, deed, login, {"name": login, "team": "copenhagen"})
        made = [people.known(connection, f"crew-{number}").id for number in range(AGENTS)]
        issued = [keys.issue(connection, deed, "test", [Permission.DIAL], user_id=number) for number in made]
    return [Client(port=api.port, headers={"Authorization": f"Bearer {each.secret}"}) for each in issued]


def test_fifty_agents_at_once_are_given_every_lead_once(api: Api) -> None:
    """Through the real server: nobody gets what another one has, and these are the first ones of the file."""
    numbers = desk_of(api).leads(*({} for _ in range(LEADS)))
    clients = [replace(each, patience=300) for each in crew(api)]  # how long it takes is no part of the test
    taken: list[int] = []

    def work(client: Client) -> None:
        for _ in range(CALLS):
            taken.append(following(client)["lead"]["id"])
            client.do("POST", f"dial/{taken[-1]}/result", {"status": "success"})

    at_once(*(partial(work, client) for client in clients))
    assert set(Counter(taken).values()) == {1}
    assert set(taken) == set(numbers[: AGENTS * CALLS])


def test_all_leads_are_given_in_the_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the functions, fifty at once until there is none: more leads than are staged at once, each exactly once."""
    monkeypatch.setattr(dialling, "STAGED", 300)
    desk = desk_of(api)
    numbers = desk.leads(*({} for _ in range(1_000)))
    taken: list[int] = []
    logins = (AGENT, "copenhagen-2", "aarhus-1", "copenhagen-evening-1")

    def work(login: str) -> None:
        mine = dialling.start(desk.engine, login, "DK-ENERGY", NOON)
        while True:
            found, mine = dialling.next_lead(desk.engine, mine, NOON)
            if found is None:
                return
            taken.append(found.id)

    at_once(*(partial(work, logins[each % 4]) for each in range(AGENTS)))
    assert len(taken) == len(numbers)
    assert sorted(taken) == numbers
