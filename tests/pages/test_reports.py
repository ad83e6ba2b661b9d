"""Reports in a browser: what was called, by whom, and only what one may see."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime

import pytest
from playwright.sync_api import expect

from ingestd.errors import Invalid
from ingestd.leads import shifts
from ingestd.leads.reports import Row
from ingestd.leads.shifts import Result
from ingestd.store.ledger import now
from ingestd.web.pages.reports import bars, summed, wished, zones_of
from tests.leads.conftest import Desk
from tests.pages.browsing import Served, Site, look_at

NOON = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


def call(site: Served, login: str, status: str) -> None:
    desk = Desk(engine=site.house.engine)
    desk.leads({}, campaign="DE-ENERGY", owner=f"user:{login}")
    who = desk.agent(login)
    given = shifts.Shifts(engine=desk.engine).next_lead(login, "DE-ENERGY", now())
    assert given.lead is not None
    shifts.finish(
        desk.engine, site.api.desk.schemas, who, given.lead.id, Result(status=status, at=now(), scheduled_at=now())
    )


def test_a_report_is_chosen_read_and_downloaded(site: Site) -> None:
    call(site, "berlin-4", "success")
    call(site, "berlin-4", "not_interested")
    with site.visit() as page:
        page.goto("/reports")
        expect(page.get_by_role("table", name="Figures by campaign")).to_be_visible()
        page.get_by_label("By", exact=True).select_option("user")
        row = page.get_by_role("table", name="Figures by user").get_by_role("row", name="berlin-4")
        expect(row).to_contain_text("50.0 %")
        assert "by=user" in page.url
        expect(page.get_by_role("img", name="Calls by day")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as CSV").click()
        assert "berlin-4" in download.value.path().read_text()
    with site.visit("lead-denmark") as page:
        page.goto("/reports?by=user")
        expect(page.get_by_text("of your team and those below it")).to_be_visible()
        page.locator("#figures:not([hx-get])").wait_for()
        assert "berlin-4" not in page.content()


def test_a_chart_has_the_numbers_of_the_report(served: Served) -> None:
    call(served, "berlin-1", "success")
    call(served, "berlin-1", "manual_redial_vip")
    admin = served.client("admin")
    days = f"from={NOON:%Y-%m-%d}&to={now():%Y-%m-%d}&every=week&timezone=UTC"
    body = admin.ask("GET", f"/reports?by=user&figures=now&{days}").body.decode()
    starts = [told.split() for told in re.findall(r'data-days="([^"]+)"', body)]
    values = [[int(each) for each in told.split()] for told in re.findall(r'data-values="([^"]+)"', body)]
    rows = admin.get(f"reports?by=user&{days}")["rows"]
    wanted = {name: Counter[str]() for name in ("calls", "contacts", "successes", "uploaded")}
    for row in rows:
        for name, counts in wanted.items():
            counts[row["period"]] += row[name]
    assert starts[0] == starts[1]
    assert starts[0][0] == "2026-06-15"
    assert values == [[counts[start] for start in starts[0]] for counts in wanted.values()]
    assert values[0][-1] >= values[2][-1] >= 1
    assert body.count('role="img"') == 2, "whoever has no scripts has pictures of them"
    assert 'id="by-period"' in body
    assert '<th scope="row">Success</th>' in body
    assert '<th scope="row">Manual Redial (VIP)</th>' in body
    assert "uPlot.iife.min.js" in body
    assert "uPlot" not in admin.ask("GET", "/pools").body.decode()


def test_charts_are_drawn_anew_for_another_choice(site: Site) -> None:
    call(site, "berlin-2", "success")
    with site.visit() as page:
        page.goto("/reports?every=day")
        expect(page.locator("figure[data-drawn] canvas")).to_have_count(2)
        expect(page.locator(".chart > svg").first).to_be_hidden()
        page.locator(".chart-plot").first.hover()
        expect(page.locator(".chart-at").first).to_contain_text("calls")
        page.get_by_label("Each").select_option("month")
        page.get_by_role("img", name="Calls by month").wait_for()
        expect(page.locator("figure[data-drawn] canvas")).to_have_count(2)
        page.go_back()
        page.get_by_role("img", name="Calls by day").wait_for()
        expect(page.locator("figure[data-drawn] canvas")).to_have_count(2)
    with site.visit(java_script_enabled=False) as page:
        page.goto("/reports?figures=now")
        expect(page.get_by_role("img", name="Calls by day").locator("rect").first).to_be_attached()


@pytest.mark.slow
def test_everybody_can_use_it(site: Site) -> None:
    call(site, "berlin-3", "busy")
    look_at(site, "/reports?by=team&every=day", "reports", ready="table.report-figures")
    look_at(site, "/reports?from=2001-01-01&to=2001-01-31", "reports-none", ready=".empty")


def test_what_is_no_report_is_told(served: Served) -> None:
    client = served.client("admin")
    for query in ("from=yesterday", "by=moon", "from=2026-02-01&to=2026-01-01&figures=now", "timezone=Moon/Base"):
        answer = client.ask("GET", f"/reports?{query}")
        assert (answer.status, b"There is no such report" in answer.body) == (422, True)


def test_the_last_thirty_days_by_the_clock_of_the_campaigns() -> None:
    wish = wished(("campaign", "day"), ("", ""), "Europe/Copenhagen", NOON)
    assert (wish.start, wish.end) == (date(2026, 5, 17), date(2026, 6, 15))
    assert zones_of(["Europe/Berlin", "UTC", "Europe/Berlin"]) == ["Europe/Berlin", "UTC"]
    with pytest.raises(Invalid):
        wished(("campaign", "hour"), ("", ""), "UTC", NOON)


def test_rows_add_up_and_empty_days_have_a_bar() -> None:
    days = [date(2026, 6, day) for day in (1, 2, 3)]
    rows = [
        Row(period=days[0], key="a", name="A", calls=2, statuses={"busy": 2}),
        Row(period=days[2], key="a", name="A", calls=3, statuses={"busy": 1}),
    ]
    (total,) = summed(rows, lambda row: row.key)
    assert (total.calls, total.statuses) == (5, {"busy": 3})
    assert [bar.parts[0][1] for bar in bars(days, rows, (("calls", "calls", "calm"),))] == [2, 0, 3]
