"""Do-not-call lists: every number that can be read is on the list, every line that cannot is named."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, select

from ingestd import samples, schemas
from ingestd.errors import Rejected
from ingestd.leads import do_not_call
from ingestd.leads.do_not_call import Imported
from ingestd.store import rules, tables
from ingestd.store.audit import COMMAND_LINE, Deed
from ingestd.store.engine import reading
from ingestd.store.ledger import now
from tests.databases import ROOT

SCHEMA = schemas.read(ROOT / "schemas")
ONE, TWO, THREE = "+4526000001", "+4526000002", "+4526000003"


def imported(engine: Engine, data: bytes, *, campaign: str | None = None, region: str | None = "DK") -> Imported:
    given: dict[str, Any] = {
        "name": "list.csv",
        "schema": SCHEMA,
        "deed": Deed(actor=COMMAND_LINE, at=now(), why="asked"),
    }
    return do_not_call.import_list(engine, data, campaign=campaign, region=region, **given)


def listed(engine: Engine) -> set[tuple[int, str]]:
    with reading(engine) as connection:
        rows = connection.execute(select(tables.do_not_call.c.campaign_id, tables.do_not_call.c.phone))
        return {(row[0], row[1]) for row in rows}


def refused(engine: Engine, data: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        imported(engine, data)
    assert listed(engine) == set()
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        b"+4526000001\n26 00 00 02\n",
        b"\xef\xbb\xbf26000001\r\n26000002",
        b"\n26000001\n\n 26000002 \n",
        "26000001\r\n26000002\r\n".encode("utf-16"),
        b"phone\n26000001\n26000002\n",
        b"Navn;Tlf. Nr;By\r\nAnna;26000001;Odense\r\nBo;26 00 00 02;Aarhus\r\n",
        b"Name,Mobile\nAnna,26000001\nBo,\nCarl,0045 26000002\n",
        "Navn;Telefon\nSøren;26000001\nBo;26000002\n".encode("cp1252"),
    ],
    ids=["plain", "marked", "blank lines", "utf-16", "header", "table", "empty cell", "cp1252"],
)
def test_a_list_may_be_plain_or_a_table(organised: Engine, data: bytes) -> None:
    assert imported(organised, data) == Imported(added=2, known=0, unreadable=[])
    assert listed(organised) == {(0, ONE), (0, TWO)}


def test_a_single_number_is_a_list(organised: Engine) -> None:
    assert imported(organised, b"+4526000001").added == 1
    assert imported(organised, samples.do_not_call()).added == 1


def test_the_same_list_again_adds_nothing(organised: Engine) -> None:
    data = b"26000001\n26000002\n"
    assert imported(organised, data).added == 2
    assert imported(organised, data) == Imported(added=0, known=2, unreadable=[])
    assert imported(organised, data + b"26000003\n") == Imported(added=1, known=2, unreadable=[])


def test_a_number_twice_in_one_list_is_known_the_second_time(organised: Engine) -> None:
    assert imported(organised, b"26000001\n+45 26000001\n") == Imported(added=1, known=1, unreadable=[])


def test_lines_that_are_no_number_are_named(organised: Engine) -> None:
    result = imported(organised, b"26000001\n\nnobody\n12\n26000002\n")
    assert result == Imported(
        added=2,
        known=0,
        unreadable=[(3, "nobody", "is not a phone number"), (4, "12", "is too short for a phone number")],
    )


def test_an_amount_is_named_and_puts_no_stranger_on_the_list(organised: Engine) -> None:
    """Else the person who asked is called, and another one is not."""
    result = imported(organised, b"phone\n1512345678.0\n+4915123456789\n", region="DE")
    assert (result.added, [(line, cell) for line, cell, _ in result.unreadable]) == (1, [(2, "1512345678.0")])
    assert listed(organised) == {(0, "+4915123456789")}


def test_broken_records_of_a_table_are_named_too(organised: Engine) -> None:
    """A record that nobody can read may hold a number that must not be called."""
    result = imported(organised, b"Phone,Name\n26000001,Anna\n26000002,Bo,more\nx,Carl\n26000003,Dorte\n")
    assert (result.added, [line for line, *_ in result.unreadable]) == (2, [3, 4])
    assert "26000002" in result.unreadable[0][1]


def test_every_phone_column_of_a_table_counts(organised: Engine) -> None:
    result = imported(organised, b"Phone,Name,Mobile,Alt phone\n26000001,Anna,26000002,\n,Bo,,26000003\n")
    assert result == Imported(added=3, known=0, unreadable=[])
    assert {phone for _, phone in listed(organised)} == {ONE, TWO, THREE}


def test_a_campaigns_list_is_its_own_and_has_its_region(organised: Engine) -> None:
    assert imported(organised, b"030 123456\n030 123457\n", campaign="DE-ENERGY", region=None).added == 2
    with reading(organised) as connection:
        number = rules.campaign(connection, "DE-ENERGY").id
    assert listed(organised) == {(number, "+4930123456"), (number, "+4930123457")}
    assert imported(organised, b"+4930123456\n", region=None).added == 1


def test_without_a_region_the_global_list_takes_international_numbers_only(organised: Engine) -> None:
    result = imported(organised, b"26000001\n+4526000002\n", region=None)
    assert result == Imported(
        added=1, known=0, unreadable=[(1, "26000001", "does not begin with a known country code")]
    )


def test_a_region_that_is_given_wins_over_the_campaigns(organised: Engine) -> None:
    assert imported(organised, b"26000001\n", campaign="DE-ENERGY", region="DK").added == 1


def test_a_list_without_a_number_changes_nothing(organised: Engine) -> None:
    assert imported(organised, b"phone\nnobody\n") == Imported(
        added=0, known=0, unreadable=[(2, "nobody", "is not a phone number")]
    )
    assert listed(organised) == set()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"Name,City\nAnna,Odense\n", "phone_column_missing"),
        (samples.picture(), "not_a_table"),
    ],
)
def test_what_is_no_list_is_refused(organised: Engine, data: bytes, code: str) -> None:
    assert refused(organised, data).code == code


def test_an_unknown_campaign_is_refused(organised: Engine) -> None:
    with pytest.raises(Rejected, match="nowhere"):
        imported(organised, b"26000001\n", campaign="nowhere")
