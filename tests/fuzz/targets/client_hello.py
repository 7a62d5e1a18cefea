"""ClientHello: typed or nothing; a name and protocols that OpenSSL, the one that goes on with them, reads too (D3)."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from appliance.http1.refused import NeedMore
from appliance.tls.clienthello import ClientHello, InvalidHello, NotTLS, peek


def _record(body: bytes) -> bytes:
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def _hello(*extensions: tuple[int, bytes], tail: bytes = b"") -> bytes:
    listed = b"".join(
        kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for kind, data in extensions
    )
    fixed = b"\x03\x03" + b"r" * 32 + b"\x00" + b"\x00\x08\x13\x01\xc0\x2b\xc0\x2f\x00\x2f" + b"\x01\x00"
    return _record(fixed + len(listed).to_bytes(2, "big") + listed + tail)


NAME = (0, b"\x00\x0d\x00\x00\x0aok.example")
ALPN = (16, b"\x00\x0c\x02h2\x08http/1.1")
VERSIONS = (43, b"\x04\x03\x04\x03\x03")
GROUPS = (10, b"\x00\x02\x00\x17")
SIGNATURES = (13, b"\x00\x02\x04\x03")
SHARE = (51, b"\x00\x00")
WHOLE = _hello(NAME, ALPN, VERSIONS, GROUPS, SIGNATURES, SHARE)
SEEDS = (
    b"\x00" + WHOLE,
    b"\x07" + WHOLE,
    b"\x00" + _hello(NAME, GROUPS, SIGNATURES),
    b"\x00" + _hello(NAME, NAME),
    b"\x00" + _hello((0, b"\x00\x1a\x00\x00\x0aok.example\x00\x00\x0aevil.examp"), GROUPS, SIGNATURES),
    b"\x00" + _hello((0xFE0D, b"\x00" * 8), NAME, VERSIONS, GROUPS, SIGNATURES, SHARE),
    b"\x00" + _hello(tail=b"x"),
    b"\x00" + WHOLE[:3] + b"\x00\x04" + WHOLE[5:9] + b"\x16\x03\x01" + (len(WHOLE) - 9).to_bytes(2, "big") + WHOLE[9:],
    b"\x00GET / HTTP/1.1\r\n\r\n",
    b"\x00\x16\x03\x01\x00\x02\x02\x28",
)  # fmt: skip
TOKENS = (
    b"ok.example",
    b"evil.example",
    b"\x16\x03\x01",
    b"\x02h2",
    b"\x08http/1.1",
    b"\xfe\x0d",
    b"\x00\x00",
)


def one(data: bytes) -> None:
    """The first octet says in what pieces the rest arrives (0: at once)."""
    if not data:
        return
    wire = data[1:]
    whole = _peek(wire)
    if data[0]:
        assert whole == _in_pieces(wire, data[0])
    if isinstance(whole, ClientHello):
        name, protocols = _by_openssl(wire)
        assert name in (None, whole.server_name), (name, whole)
        assert protocols in (None, whole.alpn), (protocols, whole)


def _peek(wire: bytes) -> ClientHello | str | None:
    try:
        found = peek(wire)
    except (NotTLS, InvalidHello) as fault:
        return type(fault).__name__
    return None if isinstance(found, NeedMore) else found


def _in_pieces(wire: bytes, size: int) -> ClientHello | str | None:
    """What is known when it is first known: what comes behind a whole hello changes nothing about it."""
    for end in range(size, len(wire), size):
        early = _peek(wire[:end])
        if early is not None:
            return early
    return _peek(wire)


@cache
def _server() -> tuple[SSL.Context, list[bytes | None], list[tuple[bytes, ...]]]:
    names: list[bytes | None] = []
    protocols: list[tuple[bytes, ...]] = []
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fuzz")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_tlsext_servername_callback(lambda connection: names.append(connection.get_servername()))

    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        del connection
        protocols.append(tuple(offered))
        return offered[0]

    context.set_alpn_select_callback(select)
    return context, names, protocols


def _by_openssl(wire: bytes) -> tuple[bytes | None, tuple[bytes, ...] | None]:
    """Server name and protocols as OpenSSL reads them; None where it does not get to the point of saying."""
    context, names, protocols = _server()
    names.clear()
    protocols.clear()
    connection = SSL.Connection(context, None)
    connection.bio_write(wire)
    with suppress(SSL.Error):
        connection.do_handshake()
    return (names[-1] if names else None), (protocols[-1] if protocols else None)
