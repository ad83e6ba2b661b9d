"""`ingestd deliveries …` as a shell sees it."""

from __future__ import annotations

from pathlib import Path

from ingestd import samples
from ingestd.house import open_house
from ingestd.model import Arrival
from ingestd.receive.landing import Landing
from tests.test_cli import Shell


def waiting(shell: Shell) -> None:
    """A delivery that no daemon has begun."""
    house = open_house(shell.config, shell.home)
    landing = Landing(house.spool, house.ledger, lambda: None)
    incoming = landing.open(1_000_000)
    incoming.write(samples.clean(5))
    landing.accept(incoming, Arrival(source="nordlead", login="x", peer="local", protocol="test", name="a.csv"))
    house.engine.dispose()


def test_a_delivery_is_cancelled_and_queued_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.json("deliveries") == []
    waiting(shell)
    assert shell.run("deliveries", "cancel", "1", "--why", "wrong list").stdout == "delivery 1 is cancelled\n"
    assert [each["state"] for each in shell.json("deliveries", "--source", "nordlead")] == ["cancelled"]
    assert "is cancelled; nothing to cancel" in shell.run("deliveries", "cancel", "1", code=4).stderr
    assert shell.run("deliveries", "retry", "1").stdout == "delivery 1 is queued\n"
    assert "is queued; nothing to retry" in shell.run("deliveries", "retry", "1", code=4).stderr
    assert "there is no delivery 9" in shell.run("deliveries", "cancel", "9", code=4).stderr
    assert "there is no delivery 9" in shell.run("deliveries", "show", "9", code=4).stderr
    told = shell.json("org", "audit", "--subject", "delivery:1")
    assert [(each["action"], each["why"]) for each in told] == [
        ("delivery_retried", ""),
        ("delivery_cancelled", "wrong list"),
    ]


def test_one_delivery_is_shown_with_its_reason(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("import", shell.file("wrong.csv", "Name,Town", "A,Odense"), "--source", "nordlead", code=4)
    told = shell.run("deliveries", "show", "1").stdout.splitlines()
    assert told[0] == "wrong.csv, 19 bytes, of nordlead by import"
    assert told[1].endswith(" UTC, proven: read to its end by ingestd import")
    assert told[2] == "delivery 1: refused"
    assert told[3].startswith("  required_column_missing: no column of this file is 'Phone'")
    assert "name it 'Phone'" in told[4]
    found = shell.json("deliveries", "show", "1")
    assert found == shell.json("deliveries")[0]
    assert (found["source"], found["reason"]["code"]) == ("nordlead", "required_column_missing")
