"""How the door speaks TLS: what OpenSSL does not take is the operator's to mend, not a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from ingestd.certificates import Certificate, configured
from ingestd.errors import Misconfigured
from ingestd.receive.ftp_contexts import Contexts
from ingestd.settings.daemon import TlsSettings

NOW = datetime.now(UTC)


def certificate(folder: Path, bits: int) -> Certificate:
    """One with an RSA key of so many bits."""
    key = rsa.generate_private_key(65537, bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ftp.example")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    leaf = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "rsa.pem").write_bytes(key.private_bytes(*form) + leaf)
    return configured(TlsSettings(certificate="rsa.pem"), folder, NOW)


def test_an_rsa_certificate_is_taken(tmp_path: Path) -> None:
    assert Contexts.of(certificate(tmp_path, 2048))


def test_a_key_that_is_too_weak_is_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"tls\.certificate: .*rsa\.pem.* cannot be used: ee key too small"):
        Contexts.of(certificate(tmp_path, 1024))
