"""The daemon from outside: processes, doors, takeover, stop."""

from __future__ import annotations

import contextlib
import ftplib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestd import samples
from ingestd.model import State
from tests.conftest import Postgres
from tests.running import FEWER, PATIENCE_SECONDS, Daemon, Manager, until


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def state_of(daemon: Daemon, name: str) -> State | None:
    found = [each for each in daemon.house().ledger.latest(limit=99) if each.name == name]
    return found[0].state if found and found[0].published_at else None


def test_a_file_sent_by_ftp_becomes_a_pool_and_its_results_come_back(daemon: Daemon) -> None:
    answer = daemon.send("nordlead", "one.csv", samples.clean(50))
    assert answer.startswith("226 delivery ")
    until(lambda: state_of(daemon, "one.csv") is State.COMPLETED, "one.csv to be loaded")
    with daemon.ftp("nordlead") as client:
        assert "one.csv.receipt.json" in client.nlst("results")


def test_a_file_sent_by_sftp_becomes_a_pool_and_its_results_come_back(daemon: Daemon) -> None:
    with daemon.sftp("stadtwerk") as client:
        client.send("upload/november.csv", samples.german(20))
        until(lambda: state_of(daemon, "november.csv") is State.COMPLETED, "november.csv to be loaded")
        assert b"november.csv.receipt.json" in client.do("listdir", "results")


def test_the_host_key_is_the_one_that_was_told(daemon: Daemon) -> None:
    with daemon.sftp("stadtwerk") as client:
        key = client.connection.get_server_host_key()
        assert key is not None
        assert key.get_fingerprint() == daemon.doors["sftp"]["fingerprint"]


def test_a_file_moved_into_the_drop_folder_is_loaded_and_answered_beside_it(daemon: Daemon) -> None:
    folder = Path(daemon.doors["folder"]["path"]) / "stadtwerk"
    content = samples.german(20, seed=12)  # other ones than came by SFTP
    (folder / "kunden.csv.part").write_bytes(content)
    (folder / "kunden.csv.part").rename(folder / "kunden.csv")
    until(lambda: state_of(daemon, "kunden.csv") is State.COMPLETED, "kunden.csv to be loaded")
    assert not (folder / "kunden.csv").exists()
    until((folder / "done" / "kunden.csv.receipt.json").exists, "its results")
    assert (folder / "done" / "kunden.csv").read_bytes() == content


def told_polars(daemon: Daemon) -> list[tuple[str, str]]:
    """The threads that each worker was given for polars, and the last word on when it gives memory back."""
    told = [Path(f"/proc/{pid}/environ").read_text() for pid in daemon.children("worker")]
    each = [dict(line.split("=", 1) for line in lines.split("\0") if line) for lines in told]
    return [(given["POLARS_MAX_THREADS"], given["_RJEM_MALLOC_CONF"].split(",")[-1]) for given in each]


def test_the_workers_share_the_processors_unless_the_operator_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    monkeypatch.delenv("_RJEM_MALLOC_CONF")  # polars has set it in this process
    (tmp_path / "shared").mkdir()
    with Daemon(tmp_path / "shared", INGESTD_ROLES="worker", INGESTD_WORKER__PROCESSES="2") as shared:
        assert told_polars(shared) == [(str(max(1, len(os.sched_getaffinity(0)) // 2)), "muzzy_decay_ms:0")] * 2
    (tmp_path / "said").mkdir()
    mine = {"POLARS_MAX_THREADS": "3", "_RJEM_MALLOC_CONF": "muzzy_decay_ms:9"}
    with Daemon(tmp_path / "said", INGESTD_ROLES="worker", **mine) as said:
        assert told_polars(said) == [("3", "muzzy_decay_ms:9")]


def test_a_killed_worker_is_replaced_and_takes_nothing_with_it(daemon: Daemon) -> None:
    before = daemon.children("worker")
    os.kill(before[0], signal.SIGKILL)
    answer = daemon.send("nordlead", "after-kill.csv", samples.clean(30, start=1_000))  # the doors stay open
    assert answer.startswith("226")
    until(lambda: state_of(daemon, "after-kill.csv") is State.COMPLETED, "the file to be loaded by the successor")
    assert daemon.children("worker") != before


def test_a_killed_receiver_opens_the_same_port_again(daemon: Daemon) -> None:
    port, sftp = daemon.doors["ftp"]["port"], daemon.doors["sftp"]
    (receiver,) = daemon.children("receiver")
    os.kill(receiver, signal.SIGKILL)

    def back() -> bool:
        try:
            with daemon.ftp("nordlead") as client:
                return client.port == port
        except OSError:
            return False

    until(back, "the FTP door to be open again")

    def same_key() -> bool:
        try:
            with daemon.sftp("nordlead") as client:
                key = client.connection.get_server_host_key()
        except OSError:
            return False
        return key is not None and key.get_fingerprint() == sftp["fingerprint"]

    until(same_key, "the SFTP door to be open again, known by the same key")


def test_a_second_daemon_in_the_same_home_is_refused(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "ingestd", "serve", "--config", str(daemon.config), "--home", str(daemon.home)]
    done = subprocess.run(command, env=daemon.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "another ingestd uses this home" in done.stderr


def test_children_die_with_a_killed_daemon_and_a_new_one_takes_over(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, **FEWER).start()
    children = daemon.children("worker") + daemon.children("receiver")
    assert len(children) == 2
    daemon.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the children to end")
    with daemon.start():
        assert daemon.send("nordlead", "again.csv", samples.clean(5)).startswith("226")
        until(lambda: state_of(daemon, "again.csv") is State.COMPLETED, "again.csv to be loaded")


def test_a_stop_ends_everything_and_closes_the_doors(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, **FEWER).start()
    children = daemon.children("worker") + daemon.children("receiver")
    assert daemon.stop() == 0
    assert not daemon.endpoints.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


# --- one node among others


def status(daemon: Daemon) -> dict[str, Any]:
    """As an operator sees it."""
    command = [sys.executable, "-m", "ingestd", "status", "--json"]
    command += ["--config", str(daemon.config), "--home", str(daemon.home)]
    done = subprocess.run(command, env=daemon.environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_node_has_the_roles_it_was_given_and_tells_what_it_does(tmp_path: Path) -> None:
    with Daemon(tmp_path, INGESTD_ROLES="ftp,worker", INGESTD_NODE__NAME="alpha") as daemon:
        assert set(daemon.doors) == {"ftp"}
        assert daemon.children("web") == daemon.children("results") == []
        with daemon.ftp("nordlead"):

            def told() -> bool:
                (node,) = status(daemon)["nodes"]
                processes = {each["name"]: each["doing"] for each in node["processes"]}
                assert (node["name"], node["state"], node["roles"]) == ("alpha", "running", ["ftp", "worker"])
                return processes == {"receiver": {"ftp": {"sessions": 1, "uploads": 0}}, "worker-1": {}}

            until(told, "the session to be told")
        daemon.kill()
        daemon.start()  # at once: it is the same home
        assert daemon.stop() == 0
        stopped = status(daemon)
        assert (stopped["running"], [node["state"] for node in stopped["nodes"]]) == (False, ["stopped"])


def test_a_second_node_of_the_same_name_is_refused(tmp_path: Path, postgres: Postgres) -> None:
    shared = {
        "INGESTD_STORE__URL": postgres.new_database(),
        "INGESTD_STORAGE__URL": (tmp_path / "shared").as_uri(),
        "INGESTD_NODE__NAME": "alpha",
        "INGESTD_ROLES": "worker",
    }
    for name in ("one", "two", "shared"):
        (tmp_path / name).mkdir()
    with Daemon(tmp_path / "one", **shared):
        second = Daemon(tmp_path / "two", **shared)
        assert second.launch().wait(PATIENCE_SECONDS) == 78
        assert "node.name: another node is called 'alpha'; it runs in" in second.journal.read_text()


# --- watched by systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path) as listening:
        yield listening


def watched(folder: Path, manager: Manager, *, stuck_seconds: float) -> Daemon:
    """A daemon that systemd wants to hear of four times a second."""
    return Daemon(
        folder / "daemon",
        NOTIFY_SOCKET=manager.address,
        WATCHDOG_USEC="1000000",
        INGESTD_WATCH__LATE_SECONDS="2",
        INGESTD_WATCH__STUCK_SECONDS=str(stuck_seconds),
    )


def test_the_watchdog_is_fed_only_while_every_role_advances(tmp_path: Path, manager: Manager) -> None:
    with watched(tmp_path, manager, stuck_seconds=PATIENCE_SECONDS) as daemon:
        until(lambda: manager.heard_since(0, "WATCHDOG=1"), "the first feeding")
        (receiver,) = daemon.children("receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            until(lambda: daemon.events("role_stuck"), "the stopped receiver to be noticed")
            stuck_at = time.monotonic() + 0.1  # what was on its way
            time.sleep(1.5)  # six feedings
            assert not manager.heard_since(stuck_at, "WATCHDOG=1")
            assert answer(daemon, "/readyz")["checks"]["receiver"] == {"ok": False, "told": "stuck"}
        finally:
            os.kill(receiver, signal.SIGCONT)
        until(lambda: manager.heard_since(stuck_at, "WATCHDOG=1"), "the feeding to go on")
        assert len(daemon.events("role_stuck")) == 1
        assert len(daemon.events("role_advances")) == 1
        assert daemon.children("receiver") == [receiver]


def test_a_role_that_stays_stuck_is_replaced_and_the_others_go_on(tmp_path: Path, manager: Manager) -> None:
    with watched(tmp_path, manager, stuck_seconds=3) as daemon:
        (receiver,), workers = daemon.children("receiver"), daemon.children("worker")
        os.kill(receiver, signal.SIGSTOP)
        until(lambda: daemon.events("role_died"), "the receiver to be replaced")
        replaced_at = time.monotonic()
        until(lambda: manager.heard_since(replaced_at, "WATCHDOG=1"), "the feeding to go on")
        until(lambda: answer(daemon, "/readyz")["ready"], "the doors to be open again")
        assert daemon.send("nordlead", "after.csv", samples.clean(5)).startswith("226")
        assert daemon.children("worker") == workers
        assert [role["restarts"] for role in roles(daemon)] == [1, 0, 0]
        # When the supervisor itself is held up, it blames nobody.
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(3.5)  # more than stuck_seconds
        daemon.process.send_signal(signal.SIGCONT)
        continued_at = time.monotonic()
        until(lambda: manager.heard_since(continued_at, "WATCHDOG=1"), "the feeding to go on")
        assert len(daemon.events("role_stuck")) == 1


def test_systemd_is_told_of_start_reload_and_stop(tmp_path: Path, manager: Manager) -> None:
    with watched(tmp_path, manager, stuck_seconds=PATIENCE_SECONDS) as daemon:
        until(lambda: manager.heard_since(0, "READY=1"), "the word that it is ready")
        ready = next(text for text in manager.messages if text.startswith("READY=1"))
        assert f"ftp {daemon.doors['ftp']['port']}" in ready
        begun = time.monotonic()
        daemon.hang_up()
        until(lambda: manager.heard_since(begun, "READY=1"), "the end of the reload")
        reloading = next(text for text in manager.messages if text.startswith("RELOADING=1"))
        assert begun * 1e6 <= int(reloading.partition("MONOTONIC_USEC=")[2]) <= time.monotonic() * 1e6
        assert daemon.stop() == 0
        assert any("STOPPING=1" in text.split("\n") for text in manager.messages)


def answer(daemon: Daemon, path: str) -> dict[str, Any]:
    door = daemon.doors["http"]
    try:
        with urllib.request.urlopen(f"http://{door['host']}:{door['port']}{path}", timeout=10) as response:
            told: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as problem:
        told = json.load(problem)
    return told


def roles(daemon: Daemon) -> list[dict[str, Any]]:
    """As an operator sees them."""
    found: list[dict[str, Any]] = status(daemon)["roles"]
    return found


# --- reloaded


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def lets_in(daemon: Daemon, login: str) -> bool:
    try:
        daemon.ftp(login).close()
    except ftplib.error_perm:
        return False
    return True


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose configuration is changed while it runs; each test changes another part of it."""
    with Daemon(tmp_path_factory.mktemp("reloaded"), INGESTD_THROTTLE__DELAY_SECONDS="0") as running:
        yield running


def test_a_reload_lets_new_logins_in_and_removed_ones_no_longer_and_drops_nobody_else(reloaded: Daemon) -> None:
    with reloaded.ftp("nordlead") as session:
        assert lets_in(reloaded, "stadtwerk")
        rewrite(reloaded.config / "sources.toml", 'login = "stadtwerk"', 'login = "stadtwerk-2"')
        reloaded.hang_up()
        (told,) = until(lambda: reloaded.events("sources_reloaded"), "the receiver to notice")
        assert (told["logins_added"], told["logins_removed"], told["logins_changed"]) == (1, 1, 0)
        assert lets_in(reloaded, "stadtwerk-2")
        assert not lets_in(reloaded, "stadtwerk")
        assert session.voidcmd("NOOP").startswith("200")


def test_a_wrong_configuration_is_refused_with_its_place_and_changes_nothing(reloaded: Daemon) -> None:
    rewrite(reloaded.config / "sources.toml", 'login = "fibreweb"', 'logn = "fibreweb"')
    reloaded.hang_up()
    (refused,) = until(lambda: reloaded.events("reload_refused"), "the reload to be refused")
    assert refused["file"] == str(reloaded.config / "sources.toml")
    assert refused["key"] == "source fibreweb.login.0.logn"
    assert lets_in(reloaded, "fibreweb")
    # A role that dies meanwhile cannot be replaced, and the others go on until the file is mended.
    os.kill(reloaded.children("worker")[0], signal.SIGKILL)
    until(lambda: reloaded.events("role_failed"), "the successor to fail")
    assert lets_in(reloaded, "nordlead")
    rewrite(reloaded.config / "sources.toml", 'logn = "fibreweb"', 'login = "fibreweb"')
    until(lambda: reloaded.events("role_ready")[-1]["role"] == "worker-1", "the worker to be back")


def test_settings_that_need_a_restart_are_named(reloaded: Daemon) -> None:
    before = reloaded.events("sources_reloaded")
    rewrite(reloaded.config / "ingestd.toml", "keep_days = 30", "keep_days = 31")
    reloaded.hang_up()
    (told,) = until(lambda: reloaded.events("restart_needed"), "the log to say so")
    assert told["keys"] == ["results.keep_days"]
    assert reloaded.events("sources_reloaded") == before


# --- stopped


def test_a_transfer_that_runs_when_the_stop_comes_is_answered_and_kept(tmp_path: Path) -> None:
    content = samples.clean(2_000)
    with Daemon(tmp_path, **FEWER) as daemon:
        client = daemon.ftp("nordlead")
        sending = client.transfercmd("STOR upload/last.csv")
        sending.sendall(content[:1000])
        process = daemon.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        until(lambda: not daemon.endpoints.exists(), "the stop to begin")
        refused = until(lambda: refuses(client.port), "the door to be closed for others")
        assert refused
        sending.sendall(content[1000:])
        sending.close()
        assert client.voidresp().startswith("226 delivery 1 received")
        client.close()
        assert daemon.stop() == 0
        with daemon.start():
            until(lambda: state_of(daemon, "last.csv") is State.COMPLETED, "the file to be loaded after the restart")


def refuses(port: int) -> bool:
    with contextlib.closing(ftplib.FTP()) as other:
        try:
            other.connect("127.0.0.1", port, timeout=1)
        except OSError:
            return True
    return False


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with Daemon(tmp_path, **FEWER) as daemon:
        client = daemon.ftp("nordlead")
        sending = client.transfercmd("STOR upload/never.csv")
        sending.sendall(b"Name,Phone")
        process, children = daemon.process, daemon.children("receiver")
        assert process is not None
        process.send_signal(signal.SIGTERM)
        until(lambda: not daemon.endpoints.exists(), "the stop to begin")
        assert process.poll() is None  # it waits for the transfer
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert {event["reason"] for event in daemon.events("role_killed")} == {"insisted"}
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        sending.close()
        client.close()


def test_a_transfer_that_does_not_end_is_cut_off_within_the_limit(tmp_path: Path) -> None:
    with Daemon(tmp_path, **FEWER, INGESTD_STOP__TRANSFER_SECONDS="1") as daemon:
        client = daemon.ftp("nordlead")
        sending = client.transfercmd("STOR upload/endless.csv")
        sending.sendall(b"Name,Phone")
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - begun < 25  # not the 30 s that are the default
        assert daemon.events("role_killed") == []  # the door ended it by itself
        assert daemon.house().ledger.latest(limit=1) == []
        sending.close()
        client.close()


# --- its journal


def test_every_event_says_when_how_grave_what_and_by_which_process(daemon: Daemon) -> None:
    daemon.send("nordlead", "journal.csv", samples.clean(3))
    with contextlib.suppress(ftplib.error_perm):
        daemon.ftp("nobody")
    until(lambda: daemon.events("ftp_login_refused"), "the refusal")
    events = [json.loads(line) for line in daemon.journal.read_text(encoding="utf-8").splitlines()]
    for event in events:
        assert event["timestamp"].endswith("Z")
        assert event["level"] in ("info", "warning", "error", "critical")
        assert event["process"] in ("supervisor", "receiver", "worker-1", "web")
        if event["event"] in ("ftp_login", "ftp_login_refused", "ftp_upload_landed"):
            assert event["peer"] == "127.0.0.1"
            assert event["login"]
    assert "secret" not in daemon.journal.read_text(encoding="utf-8")
