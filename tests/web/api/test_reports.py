"""Reports over the API and the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestd.access.permissions import Permission
from tests.test_cli import Shell
from tests.web.serving import Api

PERIOD = "from=2026-06-01&to=2026-06-30"


def test_a_report_is_read_as_json_and_as_a_table(api: Api) -> None:
    admin = api.user("admin")
    told = admin.get(f"reports?by=campaign&{PERIOD}&every=month")
    assert told == {"by": "campaign", "every": "month", "timezone": "UTC", "rows": []}
    table = admin.ask("GET", f"reports.csv?by=team&{PERIOD}")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.body.startswith(b"period,team,name,uploaded,calls,")


@pytest.mark.parametrize("period", ["from=2026-06-30&to=2026-06-01", "from=2000-01-01&to=2026-06-01"])
def test_what_is_no_period_is_refused(api: Api, period: str) -> None:
    assert api.user("admin").refused("GET", f"reports?by=user&{period}") == (422, "period_unusable")


def test_a_key_of_the_house_needs_extended_insights(api: Api) -> None:
    path = f"reports?by=user&{PERIOD}"
    assert api.key(Permission.LEAD_ADMIN).refused("GET", path) == (403, "key_without_user")
    assert api.key(Permission.EXTENDED_INSIGHTS).get(path)["rows"] == []
    assert api.key(Permission.LEAD_POOLS).refused("GET", path) == (403, "permission_missing")


def test_a_report_on_the_command_line(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("lead", "create", "phone=26141516", "--campaign", "DK-ENERGY", "--as", "admin")
    shell.run("lead", "status", "1", "success", "--as", "admin", "--call")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    (row,) = shell.json("report", "--by", "campaign", "--from", today)
    assert (row["key"], row["uploaded"], row["calls"], row["successes"]) == ("DK-ENERGY", 1, 1, 1)
    assert row["statuses"] == {"success": 1}
    assert shell.json("report", "--by", "campaign", "--as", "berlin-1") == []
    assert f'{today},DK-ENERGY,"Energy, Denmark",1,1,' in shell.run("report", "--csv").stdout
    assert "contact rate" in " ".join(shell.run("report").stdout.split())
