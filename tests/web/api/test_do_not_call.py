"""Do-not-call lists over the API."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd import foreground, samples
from ingestd.access.permissions import Permission
from ingestd.house import House
from ingestd.printing import progress
from ingestd.webserver import desk_of
from tests.running import order_of, prepared
from tests.web.serving import Client, serving_at


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A home with one pool of 20 leads."""
    (tmp_path / "clean.csv").write_bytes(samples.clean(20))
    with prepared(tmp_path) as house:
        with progress() as shown:
            foreground.import_file(house, order_of(tmp_path / "clean.csv", "nordlead"), shown)
        yield house


@pytest.fixture
def admin(home: House) -> Iterator[Client]:
    with serving_at(desk_of(home), home.places.run) as running:
        yield running.user("admin")


def first_phone(admin: Client) -> str:
    return str(admin.get("leads")["items"][0]["fields"]["phone"])


def test_a_number_is_listed_checked_and_taken_off_again(admin: Client) -> None:
    phone = first_phone(admin)
    done = admin.do("POST", "do-not-call", {"numbers": [phone, phone], "reason": "asked on the phone"})
    assert done == {"added": 1, "known": 0, "closed": 1}
    (listed,) = admin.get("do-not-call")["items"]
    assert (listed["phone"], listed["campaign"], listed["reason"]) == (phone, None, "asked on the phone")
    told = admin.get(f"do-not-call/{phone}")
    assert (told["listed"], [each["status"] for each in told["leads"]]) == (True, ["in_global_do_not_call_list"])
    assert admin.refused("DELETE", f"do-not-call/{phone}") == (422, "request_unusable")
    assert admin.do("DELETE", f"do-not-call/{phone}?why=a+mistake") == {"phone": phone, "campaign": None}
    assert admin.refused("DELETE", f"do-not-call/{phone}?why=twice") == (404, "number_unlisted")
    assert admin.get(f"do-not-call/{phone}")["listed"] is False
    lines = admin.get("audit?subject=do_not_call:global")["items"]
    assert [(each["action"], each["actor"], each["why"]) for each in lines] == [
        ("do_not_call.remove", "user:admin", "a mistake"),
        ("do_not_call.add", "user:admin", "asked on the phone"),
    ]


def test_the_leads_of_a_number_are_told_to_those_who_see_them(home: House) -> None:
    with serving_at(desk_of(home), home.places.run) as running:
        phone = first_phone(running.user("admin"))
        assert [each["status"] for each in running.user("lead-denmark").get(f"do-not-call/{phone}")["leads"]]
        for other in (running.user("lead-germany"), running.key(Permission.LEAD_ADMIN)):
            told = other.get(f"do-not-call/{phone}")
            assert (told["listed"], told["leads"]) == (False, [])


def test_a_campaigns_list_is_paged(admin: Client) -> None:
    numbers = [f"2600000{digit}" for digit in range(5)]
    admin.do("POST", "do-not-call", {"numbers": numbers, "campaign": "DK-ENERGY", "reason": "asked"})
    assert admin.get("do-not-call")["items"] == []
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = admin.get(f"do-not-call?campaign=DK-ENERGY&limit=2{cursor and '&cursor='}{cursor}")
        seen += [each["phone"] for each in page["items"]]
        cursor = page["next"]
    assert seen == [f"+45{number}" for number in numbers]
    (one,) = admin.get("do-not-call?campaign=DK-ENERGY&phone=26000003")["items"]
    assert one["phone"] == "+4526000003"


def test_one_number_that_is_none_lists_nothing(admin: Client) -> None:
    body = {"numbers": ["+4526000001", "nobody"], "reason": "asked"}
    assert admin.refused("POST", "do-not-call", body) == (422, "number_unusable")
    assert admin.get("do-not-call")["items"] == []
    assert admin.refused("GET", "do-not-call/26000001") == (422, "number_unusable")
    assert admin.refused("GET", "do-not-call?campaign=nowhere") == (404, "campaign_unknown")
    body = {"numbers": ["+4526000001"], "reason": "asked", "campaign": "nowhere"}
    assert admin.refused("POST", "do-not-call", body) == (404, "campaign_unknown")


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_numbers_is_imported_and_its_rejects_are_told(admin: Client, home: House, packed: bool) -> None:
    data = f"{first_phone(admin)}\nnobody\n26 00 00 01\n".encode()
    data = gzip.compress(data) if packed else data
    path = "do-not-call/import?name=list.txt&reason=asked&region=dk"
    done = admin.do("POST", path, data, Content_Type="text/csv")
    assert {name: done[name] for name in ("added", "known", "closed", "rejected")} == {
        "added": 2, "known": 0, "closed": 1, "rejected": 1,
    }  # fmt: skip
    assert done["rejects"] == [{"line": 2, "text": "nobody", "reason": "is not a phone number"}]
    assert admin.do("POST", path, data)["added"] == 0
    assert [each for each in (home.places.home / "spool" / "tmp").rglob("*") if each.is_file()] == []


def test_what_is_no_list_is_refused(admin: Client) -> None:
    path = "do-not-call/import?reason=asked&name="
    assert admin.refused("POST", f"{path}list.png", samples.picture()) == (409, "not_a_table")
    assert admin.refused("POST", f"{path}a%2Fb", b"+4526000001\n") == (422, "name_unusable")
    assert admin.refused("POST", f"{path}a.txt&campaign=nowhere", b"+4526000001\n") == (404, "campaign_unknown")
    assert admin.refused("POST", f"{path}a.txt", b"1" * (36 << 20)) == (413, "too_large")
