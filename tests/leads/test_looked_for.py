"""A number that somebody looks for is found as people say it."""

from __future__ import annotations

import pytest

from ingestd.leads import looked_for
from ingestd.store.engine import reading
from tests.leads.conftest import Desk


@pytest.mark.parametrize(
    ("text", "campaign", "kept"),
    [
        ("26 14 25 16", "DK-ENERGY", "+4526142516"),
        ("26142516", "", "+4526142516"),
        ("030 12345678", "DE-ENERGY", "+493012345678"),
        ("030 12345678", "", "+493012345678"),
        ("+45 26 14 25 16", "DE-ENERGY", "+45 26 14 25 16"),
        ("0045 26142516", "", "0045 26142516"),
        ("Ada", "", "Ada"),
        ("12", "DK-ENERGY", "12"),
    ],
)
def test_a_number_is_read_where_its_campaign_is(desk: Desk, text: str, campaign: str, kept: str) -> None:
    """What has its country, and what is no number, is left as it is."""
    with reading(desk.engine) as connection:
        assert looked_for.as_kept(connection, text, campaign) == kept


@pytest.mark.parametrize("there", ["+4526142516", "+4926142516"])
def test_of_several_numbers_it_is_the_one_that_a_lead_has(desk: Desk, there: str) -> None:
    desk.leads({"phone": there})
    with reading(desk.engine) as connection:
        assert looked_for.as_kept(connection, "26 14 25 16") == there
