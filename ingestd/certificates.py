"""The TLS certificate of a door: the operator's own, or a self-signed one that is made once and kept in the home."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from ingestd.errors import Misconfigured
from ingestd.settings.daemon import TlsSettings

LIFETIME = timedelta(days=397)
"""of a self-signed certificate; clients refuse those that are valid for longer than 825 days"""

_SETTINGS = "ingestd.toml"
_SELF_SIGNED = "self-signed.pem"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate that was read, is valid now and has its key."""

    chain: Path
    """PEM file: the certificate, and behind it those that vouch for it"""
    key: Path
    """PEM file with the private key; may be the same"""
    fingerprint: str
    """SHA-256 of the certificate, hexadecimal: what a partner can compare"""
    expires: datetime


def certificate(settings: TlsSettings, config: Path, keys: Path, now: datetime) -> Certificate:
    """The operator's certificate, or else the self-signed one in `keys`. Raises Misconfigured."""
    if settings.certificate:
        return configured(settings, config, now)
    if settings.key:
        raise Misconfigured(_SETTINGS, "tls.key", f"{settings.key!r} has no tls.certificate to belong to")
    return self_signed(keys, now)


def configured(settings: TlsSettings, config: Path, now: datetime) -> Certificate:
    """The certificate that the settings name, relative to the folder `config`.

    Raises Misconfigured with file, key and reason: unreadable, expired, not valid yet, or not of one pair.
    """
    chain, key = config / settings.certificate, config / (settings.key or settings.certificate)
    leaf = _read_certificate(chain)
    _check_valid(chain, leaf, now)
    if _public(_read_key(key).public_key()) != _public(leaf.public_key()):
        raise Misconfigured(_SETTINGS, "tls.key", f"{key} is not the key of {chain}")
    return _certificate(chain, key, leaf)


def self_signed(keys: Path, now: datetime) -> Certificate:
    """The certificate in `keys` that the daemon made for itself; made anew when there is none or it has expired."""
    path = keys / _SELF_SIGNED
    if path.exists():
        leaf = _read_certificate(path)
        if leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
            return _certificate(path, path, leaf)
    try:
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(path, _made(now))
    except OSError as problem:
        raise Misconfigured(str(path), "certificate", f"cannot be written: {problem.strerror}") from problem
    return _certificate(path, path, _read_certificate(path))


def _certificate(chain: Path, key: Path, leaf: x509.Certificate) -> Certificate:
    fingerprint = leaf.fingerprint(hashes.SHA256()).hex()
    return Certificate(chain=chain, key=key, fingerprint=fingerprint, expires=leaf.not_valid_after_utc)


def _read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of the file: the server's own (RFC 8446, 4.4.2)."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as problem:
        raise Misconfigured(_SETTINGS, "tls.certificate", f"{path} cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise Misconfigured(_SETTINGS, "tls.certificate", f"{path} has no certificate in PEM form") from problem


def _read_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as problem:
        raise Misconfigured(_SETTINGS, "tls.key", f"{path} cannot be read: {problem.strerror}") from problem
    except TypeError as problem:
        raise Misconfigured(_SETTINGS, "tls.key", f"{path} is protected by a password") from problem
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise Misconfigured(_SETTINGS, "tls.key", f"{path} has no private key in PEM form") from problem


def _check_valid(path: Path, leaf: x509.Certificate, now: datetime) -> None:
    if now >= leaf.not_valid_after_utc:
        raise Misconfigured(_SETTINGS, "tls.certificate", f"{path} expired on {leaf.not_valid_after_utc:%Y-%m-%d}")
    if now < leaf.not_valid_before_utc:
        raise Misconfigured(
            _SETTINGS, "tls.certificate", f"{path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}"
        )


def _public(key: object) -> bytes:
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, public)  # type: ignore[attr-defined, no-any-return]


def _made(now: datetime) -> bytes:
    """Key and certificate for this machine under the names by which it is reached without a name service."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ingestd")])
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of clients may be behind
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + leaf.public_bytes(serialization.Encoding.PEM)


def _names() -> list[x509.GeneralName]:
    loopback = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    hosts = dict.fromkeys(("localhost", socket.gethostname()))
    return [*(x509.DNSName(host) for host in hosts if host.isascii() and host), *loopback]


def _write_private(path: Path, content: bytes) -> None:
    """Complete or absent, and never readable for others."""
    fresh = path.with_name(f".{secrets.token_hex(8)}.tmp")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
