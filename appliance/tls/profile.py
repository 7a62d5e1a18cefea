"""What both sides of the gateway speak: TLS 1.2 with forward secrecy and AEAD, or 1.3; HTTP/1.1 inside."""

from __future__ import annotations

from OpenSSL import SSL

HTTP_1_1 = b"http/1.1"

TLS_1_2_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL"
"""RFC 9325 §4.2: only these are recommended for TLS 1.2. TLS 1.3 has no weak ones to leave out."""


def restrict(context: SSL.Context) -> None:
    """Apply the profile: no version below 1.2, no compression, renegotiation, tickets or session cache."""
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(TLS_1_2_CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
