"""`ingestd webhook …` as a shell sees it."""

from __future__ import annotations

from pathlib import Path

from tests.test_cli import Shell


def test_a_webhook_is_made_tested_and_removed(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    made = shell.run("webhook", "add", "https://partner.example/told", "--event", "delivery.failed")
    assert made.stdout.startswith("whsec_")
    assert made.stdout.strip() not in shell.run("webhook", "list").stdout
    shell.run("webhook", "test", "1")
    (message,) = shell.json("webhook", "log", "1")
    assert (message["event"], message["state"]) == ("webhook.test", "pending")
    assert shell.json("webhook", "log", "1", "--message", "1")[0]["log"] == []
    assert "waits to be sent already" in shell.run("webhook", "replay", "1", "1", code=4).stderr
    assert shell.run("webhook", "edit", "1", "--inactive").stdout == "webhook 1 is inactive\n"
    assert shell.json("webhook", "list")[0]["active"] is False
    shell.run("webhook", "remove", "1", "--why", "over")
    assert shell.json("webhook", "list") == []
    assert "there is no webhook 1" in shell.run("webhook", "log", "1", code=4).stderr
