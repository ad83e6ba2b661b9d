"""What the tests of the store share."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from ingestd.store import rules
from ingestd.store.engine import reading


@pytest.fixture
def campaign(organised: Engine) -> int:
    with reading(organised) as connection:
        return rules.campaign(connection, "DK-ENERGY").id


@pytest.fixture
def other(organised: Engine) -> int:
    with reading(organised) as connection:
        return rules.campaign(connection, "DK-FIBRE").id
