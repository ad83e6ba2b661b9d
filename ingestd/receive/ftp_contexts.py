"""How the FTP door speaks TLS: one context for control connections and one for data connections."""

from __future__ import annotations

from dataclasses import dataclass

from OpenSSL import SSL

from ingestd.certificates import Certificate
from ingestd.errors import Misconfigured

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secret and authenticated; 1.3 has no others
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """The two TLS contexts of one certificate."""

    control: SSL.Context
    data: SSL.Context
    """TLS 1.2 only: a client of 1.3 that closes without reading the session tickets resets the connection, and its file
    was cut off 8 times of 8 (RECEIVING.md)"""

    @classmethod
    def of(cls, certificate: Certificate) -> Contexts:
        """Both contexts. Raises Misconfigured for a certificate that OpenSSL does not take: too weak, for example."""
        try:
            control, data = (_context(certificate, newest) for newest in (SSL.TLS1_3_VERSION, SSL.TLS1_2_VERSION))
        except SSL.Error as problem:
            told = f"{certificate.chain} and {certificate.key} cannot be used: {ssl_reason(problem)}"
            raise Misconfigured("ingestd.toml", "tls.certificate", told) from problem
        return cls(control=control, data=data)


def ssl_reason(problem: SSL.Error) -> str:
    """What OpenSSL says, as one text."""
    first = problem.args[0] if problem.args else ""
    if isinstance(first, list):
        return ", ".join(str(each[-1]) for each in first) or "unknown"
    return str(problem.args[-1]) if problem.args else type(problem).__name__


def _context(certificate: Certificate, newest: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(newest)
    context.set_options(_OPTIONS)
    context.set_cipher_list(_CIPHERS)
    context.use_certificate_chain_file(str(certificate.chain))
    context.use_privatekey_file(str(certificate.key))
    context.set_session_id(b"ingestd")
    return context
