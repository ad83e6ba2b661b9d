"""The certificate of a door: made once when the operator has none, and looked at before a door is opened with it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingestd.certificates import Certificate, certificate, configured, self_signed
from ingestd.errors import Misconfigured
from ingestd.settings.daemon import TlsSettings

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def made(tmp_path: Path) -> Certificate:
    return self_signed(tmp_path / "keys", NOW)


def leaf(known: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(known.chain.read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- self-signed


def test_it_is_for_this_machine(made: Certificate) -> None:
    """Under the names that need no name service, and for less time than clients refuse."""
    names = leaf(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert isinstance(leaf(made).public_key(), ec.EllipticCurvePublicKey)
    assert made.expires - NOW <= timedelta(days=825)


def test_nobody_else_can_read_its_key(made: Certificate, tmp_path: Path) -> None:
    assert (mode(tmp_path / "keys"), mode(made.key)) == (0o700, 0o600)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["self-signed.pem"]


def test_it_is_made_once(made: Certificate, tmp_path: Path) -> None:
    """Partners may have written its fingerprint down."""
    assert self_signed(tmp_path / "keys", NOW + timedelta(days=300)) == made


def test_it_is_made_anew_when_it_has_expired(made: Certificate, tmp_path: Path) -> None:
    again = self_signed(tmp_path / "keys", made.expires)
    assert again.fingerprint != made.fingerprint
    assert again.expires > made.expires
    assert mode(again.key) == 0o600


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with pytest.raises(Misconfigured, match=r"keys/self-signed\.pem: certificate: cannot be written"):
        self_signed(tmp_path / "keys", NOW)


# --- configured


@pytest.fixture
def config(tmp_path: Path, made: Certificate) -> Path:
    """A configuration folder with a certificate and its key in files of their own."""
    folder = tmp_path / "config"
    folder.mkdir()
    key, chain = made.chain.read_bytes().split(b"-----BEGIN CERTIFICATE-----")
    (folder / "key.pem").write_bytes(key)
    (folder / "chain.pem").write_bytes(b"-----BEGIN CERTIFICATE-----" + chain)
    return folder


BOTH = TlsSettings(certificate="chain.pem", key="key.pem")


def test_the_operators_certificate_is_taken(config: Path, made: Certificate, tmp_path: Path) -> None:
    """Relative to the configuration, with the key in a file of its own or in the same; and none is made."""
    known = certificate(BOTH, config, tmp_path / "none", NOW)
    assert (known.chain, known.key) == (config / "chain.pem", config / "key.pem")
    assert known.fingerprint == made.fingerprint
    (config / "both.pem").write_bytes(made.chain.read_bytes())
    assert configured(TlsSettings(certificate="both.pem"), config, NOW).fingerprint == made.fingerprint
    assert not (tmp_path / "none").exists()


def test_without_settings_one_is_made(tmp_path: Path, made: Certificate) -> None:
    assert certificate(TlsSettings(), tmp_path, tmp_path / "keys", NOW) == made


def remove(path: Path) -> Callable[[Path], None]:
    return lambda config: (config / path).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def change(config: Path) -> None:
        (config / name).write_bytes(content)

    return change


def lock_key(config: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    secret = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (config / "key.pem").write_bytes(key.private_bytes(*form, secret))


def other_key(config: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (config / "key.pem").write_bytes(key.private_bytes(*form))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (remove(Path("chain.pem")), r"tls\.certificate: .*chain\.pem cannot be read: No such file"),
        (remove(Path("key.pem")), r"tls\.key: .*key\.pem cannot be read: No such file"),
        (write("chain.pem", b"nonsense"), r"tls\.certificate: .*chain\.pem has no certificate in PEM form"),
        (write("chain.pem", b""), r"tls\.certificate: .*chain\.pem has no certificate in PEM form"),
        (write("key.pem", b"nonsense"), r"tls\.key: .*key\.pem has no private key in PEM form"),
        (lock_key, r"tls\.key: .*key\.pem is protected by a password"),
        (other_key, r"tls\.key: .*key\.pem is not the key of .*chain\.pem"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(config: Path, spoil: Callable[[Path], None], told: str) -> None:
    spoil(config)
    with pytest.raises(Misconfigured, match=r"ingestd\.toml: " + told):
        configured(BOTH, config, NOW)


def test_a_certificate_out_of_its_time(config: Path, made: Certificate) -> None:
    with pytest.raises(Misconfigured, match=r"tls\.certificate: .*chain\.pem expired on 2027-07-03"):
        configured(BOTH, config, made.expires)
    with pytest.raises(Misconfigured, match=r"tls\.certificate: .*chain\.pem is not valid before 2026-06-01"):
        configured(BOTH, config, NOW - timedelta(days=1))


def test_a_key_without_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"tls\.key: 'key\.pem' has no tls\.certificate"):
        certificate(TlsSettings(key="key.pem"), tmp_path, tmp_path, NOW)
