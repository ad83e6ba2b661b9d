"""`ingestd check`: says what is wrong before a daemon is started, in the order in which one would mend it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingestd import checks
from ingestd.certificates import self_signed
from ingestd.house import Lock, Places
from ingestd.store.engine import open_engine, sqlite_url, writing
from ingestd.store.migrations import upgrade

ROOT = Path(__file__).parents[1]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the example with its schemas beside it, to break."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGESTD_FTP__PORT", "0")
    monkeypatch.setenv("INGESTD_HTTP__PORT", "0")
    monkeypatch.setenv("INGESTD_SFTP__PORT", "0")


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Lock]:
    """The lock of the home, as a running daemon holds it."""
    lock = Lock(Places(home=tmp_path / "home"))
    assert lock.taken()
    yield lock
    lock.release()


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def problems(config: Path, home: Path) -> dict[str, str]:
    """What is wrong, by what was looked at, without the folder of the test."""
    here = str(config.parent)
    return {name.replace(here, ""): problem for name, problem in checks.run(config, home) if problem is not None}


def test_the_example_is_good(config: Path, tmp_path: Path) -> None:
    found = list(checks.run(config, tmp_path / "home"))
    assert [problem for _, problem in found] == [None] * 9
    assert [name.split()[0] for name, _ in found] == [
        "configuration", "schema", "schema", "mappings", "home", "database", "ftp", "sftp", "http",
    ]  # fmt: skip


def test_without_a_configuration_nothing_else_is_looked_at(config: Path, tmp_path: Path) -> None:
    rewrite(config / "sources.toml", 'campaign = "DK-ENERGY"', 'campaign = "SE-ENERGY"')
    [(name, problem)] = checks.run(config, tmp_path / "home")
    assert name == "configuration"
    assert problem is not None
    assert "sources.toml: source nordlead.campaign: no campaign 'SE-ENERGY' exists" in problem


def test_a_template_without_a_schema(config: Path, tmp_path: Path) -> None:
    (tmp_path / "schemas" / "fibre.toml").unlink()
    found = problems(config, tmp_path / "home")
    assert list(found) == ["schema fibre"]
    assert "fibre.toml: file: cannot be read" in found["schema fibre"]


def test_a_mapping_to_a_field_that_its_campaign_does_not_have(config: Path, tmp_path: Path) -> None:
    rewrite(config / "sources.toml", '"ownership_code"', '"speed_mbit"')  # a field of fibre, not of energy
    assert problems(config, tmp_path / "home") == {
        "mappings": "sources.toml: source stadtwerk.mapping.Kürzel: no field 'speed_mbit' exists"
    }


def test_a_mapping_to_nothing_ignores_the_column(config: Path, tmp_path: Path) -> None:
    rewrite(config / "sources.toml", '"ownership_code"', '""')
    assert problems(config, tmp_path / "home") == {}


def test_a_home_that_is_a_file(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()
    found = problems(config, home)
    assert list(found) == ["home /home"], "and the database in it is not looked for"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+nonsense://host/leads", "store.url: cannot be used"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/leads", "the database is not available"),
    ],
)
def test_a_database_that_cannot_be_had(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, told: str
) -> None:
    monkeypatch.setenv("INGESTD_STORE__URL", url)
    found = problems(config, tmp_path / "home")
    assert list(found) == ["database"]
    assert told in found["database"]


def test_a_store_that_this_version_cannot_open(config: Path, tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    upgrade(engine)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    assert "was made by a newer ingestd" in problems(config, tmp_path)["database"]
    (tmp_path / "ingestd.db").write_bytes(b"not a database" * 500)
    assert "restore a backup" in problems(config, tmp_path)["database"]


@pytest.mark.parametrize("door", ["ftp", "sftp"])
def test_a_port_that_somebody_else_has(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv(f"INGESTD_{door.upper()}__PORT", str(port))
        found = problems(config, tmp_path / "home")
    assert list(found) == [f"{door} 127.0.0.1:{port}"]
    assert "Address already in use" in found[f"{door} 127.0.0.1:{port}"]


def test_every_address_of_both_kinds_can_be_listened_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGESTD_SFTP__HOST", "::")
    assert problems(config, tmp_path / "home") == {}


def test_a_host_key_that_cannot_be_read(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGESTD_SFTP__HOST_KEY", "absent")
    found = problems(config, tmp_path / "home")
    assert found == {
        "sftp host key": f"ingestd.toml: sftp.host_key: {config / 'absent'} cannot be read: No such file or directory"
    }


def test_the_port_of_the_running_daemon_is_no_problem(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: Lock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        monkeypatch.setenv("INGESTD_FTP__PORT", str(door.getsockname()[1]))
        assert problems(config, tmp_path / "home") == {}


def test_a_check_leaves_the_lock_free(config: Path, tmp_path: Path) -> None:
    list(checks.run(config, tmp_path / "home"))
    lock = Lock(Places(home=tmp_path / "home"))
    assert lock.taken()
    lock.release()


def test_a_closed_door_needs_no_port(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for door in ("FTP", "SFTP"):
        monkeypatch.setenv(f"INGESTD_{door}__ENABLED", "false")
    assert not any("ftp" in name for name, _ in checks.run(config, tmp_path / "home"))


def test_a_certificate_that_cannot_be_used(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the configuration; a self-signed one needs no look, since it is made when it is wanted."""
    monkeypatch.setenv("INGESTD_TLS__CERTIFICATE", "chain.pem")
    found = problems(config, tmp_path / "home")
    assert list(found) == ["certificate"]
    assert "tls.certificate" in found["certificate"]
    assert "chain.pem cannot be read: No such file" in found["certificate"]
    made = self_signed(tmp_path / "keys", datetime.now(UTC))
    shutil.copy(made.chain, config / "chain.pem")
    assert problems(config, tmp_path / "home") == {}


def test_both_ports_of_the_ftp_door(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on every address of both kinds."""
    monkeypatch.setenv("INGESTD_FTP__HOST", "::")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("INGESTD_FTP__IMPLICIT_PORT", str(port))
        found = problems(config, tmp_path / "home")
    assert list(found) == [f"ftp :::{port}"]
