"""Host keys: one for ever, for nobody else to read, and told in one line when it cannot be used."""

from __future__ import annotations

import stat
import subprocess
import threading
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured
from ingestd.host_keys import HostKey, host_key


def made(folder: Path, name: str = "key", passphrase: str = "") -> Path:
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The second start has the same, or every partner would be warned."""
    first, again = (host_key("", tmp_path, tmp_path / "home") for _ in range(2))
    assert first.private.get_algorithm() == "ssh-ed25519"
    assert first.fingerprint == again.fingerprint
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in first.path.parent.iterdir()] == ["ssh_host_ed25519_key"]


def test_the_fingerprint_is_the_one_that_openssh_shows(tmp_path: Path) -> None:
    key = host_key("", tmp_path, tmp_path / "home")
    shown = subprocess.run(["ssh-keygen", "-lf", key.path], check=True, capture_output=True, text=True).stdout
    assert shown.split()[1] == key.fingerprint


def test_of_many_that_start_together_one_makes_it(tmp_path: Path) -> None:
    found: list[HostKey] = []
    gate = threading.Barrier(8)

    def start() -> None:
        gate.wait()
        found.append(host_key("", tmp_path, tmp_path / "home"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({key.fingerprint for key in found}) == 1


def test_a_configured_key_is_relative_to_the_configuration(tmp_path: Path) -> None:
    made(tmp_path)
    key = host_key("key", tmp_path, tmp_path / "home")
    assert key.private.get_algorithm() == "ssh-ed25519"
    assert not (tmp_path / "home").exists()


def broken(folder: Path, what: str) -> Path:
    path = folder / what
    if what == "public":
        return made(folder).with_suffix(".pub")
    if what == "locked":
        made(folder, what, "secret")
    elif what == "nonsense":
        path.write_bytes(b"no key")
    elif what == "open":
        made(folder, what).chmod(0o604)
    return path


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("absent", "cannot be read: No such file"),
        ("public", "cannot be used as a private key"),
        ("nonsense", "cannot be used as a private key"),
        ("locked", "Passphrase must be specified"),
        ("open", "can be read by everybody"),
    ],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, what: str, told: str) -> None:
    """Names file, key and what is wrong."""
    path = broken(tmp_path, what)
    if what in ("public", "nonsense"):
        path.chmod(0o600)
    with pytest.raises(Misconfigured, match=told) as caught:
        host_key(path.name, tmp_path, tmp_path / "home")
    assert str(caught.value).startswith(f"ingestd.toml: sftp.host_key: {path} ")


def test_a_home_in_which_no_key_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with pytest.raises(Misconfigured, match="cannot be made"):
        host_key("", tmp_path, tmp_path)
