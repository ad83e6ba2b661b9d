"""Load: the last shape of new leads before the database takes them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.ingest import load
from ingestd.ingest.load import Target
from ingestd.store import loading

TARGET = Target(campaign_id=3, pool_id=9, statuses={"unprocessed": 1, "in_do_not_call_list": 31})


def packed(**cells: Any) -> Any:
    frame = pl.DataFrame({"row": [1], **{name: [value] for name, value in cells.items()}})
    text = load.pack_extra(frame, list(cells))["extra"].item()
    return None if text is None else json.loads(text)


def test_the_templates_fields_become_one_json_text() -> None:
    assert packed(supplier="Østnet", consumption_kwh=5, contract_end=date(2027, 1, 31)) == {
        "supplier": "Østnet",
        "consumption_kwh": 5,
        "contract_end": "2027-01-31",
    }


def test_a_record_without_any_of_them_has_no_extra() -> None:
    frame = pl.DataFrame({"row": [1, 2], "a": [None, "x"], "b": [None, None]}, schema_overrides={"b": pl.Int64})
    done = load.pack_extra(frame, ["a", "b"])
    assert done.columns == ["row", "extra"]
    assert done["extra"].to_list() == [None, '{"a":"x","b":null}']


def test_without_a_template_nothing_is_added() -> None:
    frame = pl.DataFrame({"row": [1]})
    assert load.pack_extra(frame, []) is frame


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**62), 2**62))
def test_any_value_survives_its_packing(text: str, number: int) -> None:
    assert packed(a=text, b=number) == {"a": text, "b": number}


NUMBERS = st.text("0123456789", min_size=1, max_size=15).map("+{}".format)
"""In E.164, as the phones of nearly all leads are."""


@given(
    st.one_of(
        st.lists(st.text("+0123456789", max_size=5), max_size=30),
        st.lists(NUMBERS, max_size=30),
        st.lists(st.one_of(NUMBERS, st.text("+-0123456789", max_size=20), st.text()), max_size=30),
    ),
    st.integers(1, 1000),
    st.sampled_from((0, load.MANY)),
)
def test_numbers_follow_the_order_of_phones_and_none_repeats(given_phones: list[str], first: int, many: int) -> None:
    frame = pl.DataFrame({"phone": given_phones}, schema={"phone": pl.String}).with_row_index("row")
    with patch.object(load, "MANY", many):
        numbered = load.number(frame, first)
    assert numbered["row"].equals(frame["row"])
    assert sorted(numbered["id"]) == list(range(first, first + len(given_phones)))
    assert numbered.sort("id")["phone"].to_list() == sorted(given_phones)


def test_a_lead_has_the_columns_that_its_file_has_in_the_order_of_the_table() -> None:
    new = pl.DataFrame(
        {
            "row": [1, 2],
            "id": [10, 11],
            "owner_id": [5, 5],
            "phone": ["+4526000001", "+4526000002"],
            "city": ["Odense", None],
            "status": ["unprocessed", "in_do_not_call_list"],
            "invalid_phone": [False, False],
        }
    )
    frame = load.lead_frame(new, TARGET)
    assert frame.columns == ["campaign_id", "id", "pool_id", "row", "owner_id", "status_id", "phone", "city"]
    assert [name for name in loading.LEAD_COLUMNS if name in frame.columns] == frame.columns
    assert frame["status_id"].to_list() == [1, 31]
    assert (frame["campaign_id"].to_list(), frame["pool_id"].to_list()) == ([3, 3], [9, 9])
    assert frame["city"].to_list() == ["Odense", None]


def test_a_status_that_an_import_may_not_set_is_a_bug() -> None:
    new = pl.DataFrame({"row": [1], "id": [1], "owner_id": [5], "phone": ["1"], "status": ["success"]})
    with pytest.raises(AssertionError, match="a status that the store does not know"):
        load.lead_frame(new, TARGET)
