"""A ClientHello as others read it: real ones of OpenSSL, mutated ones judged by OpenSSL (attacks D3, D6, D12)."""

from __future__ import annotations

import datetime as dt
import ssl
import struct
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from appliance.http1.refused import NeedMore
from appliance.tls.clienthello import MAX_HELLO, MAX_RECORDS, ClientHello, InvalidHello, NotTLS, peek

NAMES = ["ok.example", "a.b.c.d.ok.example", "x" * 63 + ".example", "xn--mnchen-3ya.example", "OK.Example"]


def openssl_hello(
    name: str | None, alpn: list[str] | None = None, maximum: ssl.TLSVersion | None = None
) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    if maximum is not None:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def body(*extensions: bytes, tail: bytes = b"") -> bytes:
    fixed = b"\x03\x03" + b"r" * 32 + vector(1, b"") + vector(2, b"\x13\x01\x00\x2f") + vector(1, b"\x00")
    return fixed + vector(2, b"".join(extensions)) + tail


def message(data: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, data)


def records(handshake: bytes, size: int = 1 << 14) -> bytes:
    pieces = [handshake[at : at + size] for at in range(0, len(handshake), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


def hello(*extensions: bytes) -> bytes:
    return records(message(body(*extensions)))


def read(data: bytes) -> ClientHello:
    result = peek(data)
    assert isinstance(result, ClientHello)
    return result


def code(data: bytes) -> str:
    with pytest.raises(InvalidHello) as caught:
        peek(data)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("alpn", [None, ["http/1.1"], ["h2", "http/1.1"]])
@pytest.mark.parametrize("name", NAMES)
def test_what_openssl_sends(name: str, alpn: list[str] | None) -> None:
    found = read(openssl_hello(name, alpn))
    assert found.server_name == name.encode()
    assert found.alpn == tuple(protocol.encode() for protocol in alpn or ())
    assert not found.ech
    assert {0x0304, 0x0303} <= set(found.versions)


def test_no_name_and_an_address_for_a_name() -> None:
    """D3: OpenSSL sends no server_name for either."""
    assert read(openssl_hello(None)).server_name is None
    assert read(openssl_hello("192.0.2.1")).server_name is None


def test_older_version_without_the_extension() -> None:
    assert read(openssl_hello("ok.example", maximum=ssl.TLSVersion.TLSv1_2)).versions == (0x0303,)


def test_byte_at_a_time() -> None:
    data = openssl_hello("ok.example", ["h2", "http/1.1"])
    for end in range(len(data)):
        assert isinstance(peek(bytearray(data[:end])), NeedMore)
    assert peek(bytearray(data)) == read(data)


@pytest.mark.parametrize("size", [20, 57, 100, 200])
def test_fragmented_over_records(size: int) -> None:
    data = openssl_hello("ok.example")
    assert peek(records(data[5:], size)) == read(data)
    for end in range(0, len(records(data[5:], size)), 7):
        assert isinstance(peek(records(data[5:], size)[:end]), NeedMore)


def test_what_follows_the_hello_in_records_of_its_own_is_not_looked_at() -> None:
    data = openssl_hello("ok.example")
    assert peek(data + b"\x17\x03\x03\x00\x05early") == read(data)


@pytest.mark.parametrize("name", [b"a\0b", b"OK.EXAMPLE.", b"192.0.2.1", b"\xff", b"a b", b"x" * 300])
def test_a_name_is_bytes_for_somebody_else_to_judge(name: bytes) -> None:
    assert read(hello(server_name(name))).server_name == name


@pytest.mark.parametrize("kind", [0xFE0D, 0xFFCE])
def test_encrypted_hello_is_seen(kind: int) -> None:
    """D6: whether real or pretended."""
    assert read(hello(server_name(b"outer.example"), extension(kind, b"\x00" * 40))).ech


def test_no_extensions_at_all() -> None:
    bare = body()[:-2]
    assert read(records(message(bare))) == ClientHello(None, (), ech=False, versions=(0x0303,))


@pytest.mark.parametrize(
    "data",
    [
        b"G",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x",
        b"\x15\x03\x01\x00\x02",
        b"\x16\x02\x00",
        b"\x80\x2e\x01\x03\x01",
        b"\x05\x01\x00",
        b"\x16G",
        b"\x00",
    ],
)
def test_not_tls(data: bytes) -> None:
    with pytest.raises(NotTLS):
        peek(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x16\x03\x01\x00\x00", "record-length"),
        (b"\x16\x03\x01\x40\x01", "record-length"),
        (records(message(body(), kind=2)), "not-client-hello"),
        (b"\x16\x03\x01\x00\x01\x02", "not-client-hello"),
        (b"\x16\x03\x01\x00\x04\x01" + MAX_HELLO.to_bytes(3, "big"), "hello-too-large"),
        (records(message(body(server_name(b"a" * 400))), 10), "too-many-records"),
        (records(message(body()))[:30] + b"\x15\x03\x01\x00\x02\x01\x00", None),
        (records(message(body())[:20]) + b"\x15\x03\x01\x00\x02\x01\x00", "record-type"),
        (records(message(body())[:20]) + b"G", "record-type"),
        (records(message(body()) + b"x"), "hello-trailing"),
        (records(message(body()) + b"x")[:-1], "hello-trailing"),
        (records(message(body(tail=b"x"))), "hello-trailing"),
        (records(message(body()[:-1])), "hello-truncated"),
        (records(message(b"")), "hello-truncated"),
        (records(message(body()[:40])), "hello-truncated"),
        (hello(server_name(b"a"), server_name(b"a")), "extension-repeated"),
        (hello(extension(99, b""), extension(99, b"")), "extension-repeated"),
        (hello(server_name(b"a", b"b")), "server-name-repeated"),
        (hello(server_name(b"a", kind=1)), "server-name-type"),
        (hello(server_name(b"")), "vector-too-short"),
        (hello(extension(0, b"")), "hello-truncated"),
        (hello(extension(0, b"\x00\x00")), "vector-too-short"),
        (hello(extension(0, vector(2, b"\x00\x00\x01a") + b"x")), "extension-trailing"),
        (hello(extension(0, vector(2, b"\x00\x00\x09a"))), "hello-truncated"),
        (hello(extension(16, b"\x00\x00")), "vector-too-short"),
        (hello(extension(16, vector(2, b"\x00\x00"))), "vector-too-short"),
        (hello(extension(16, vector(2, b"\x05h2"))), "hello-truncated"),
        (hello(extension(43, b"\x00")), "vector-too-short"),
        (hello(extension(43, b"\x03\x03\x04\x03")), "hello-truncated"),
        (records(message(b"\x03\x03" + b"r" * 32 + vector(1, b"s" * 33) + b"\x00" * 9)), "session-id"),
        (records(message(b"\x03\x03" + b"r" * 32 + vector(1, b"") + vector(2, b"abc") + b"\x01\x00")), "cipher-suites"),
        (records(message(b"\x03\x03" + b"r" * 32 + vector(1, b"") + vector(2, b"") + b"\x01\x00")), "vector-too-short"),
        (records(message(b"\x03\x03" + b"r" * 32 + vector(1, b"") + vector(2, b"ab") + b"\x00")), "vector-too-short"),
    ],
)  # fmt: skip
def test_invalid(data: bytes, reason: str | None) -> None:
    if reason is None:
        assert isinstance(peek(data), NeedMore)
    else:
        assert code(data) == reason


def test_as_many_records_as_are_read() -> None:
    handshake = message(body(server_name(b"a" * 250)))
    size = -(-len(handshake) // MAX_RECORDS)
    assert read(records(handshake, size)).server_name == b"a" * 250


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_only_the_two_exceptions_leave(data: bytes, inside: bytes) -> None:
    for attempt in (
        data,
        b"\x16\x03\x01" + data,
        records(message(inside)),
        hello(inside),
        hello(extension(0, inside)),
    ):
        try:
            peek(attempt)
        except (NotTLS, InvalidHello):
            continue


class OpensslServer:
    """What OpenSSL makes of the bytes: the name it would answer for, if it gets as far."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([])
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_privatekey(key)
        self._context.use_certificate(certificate)
        self._context.set_tlsext_servername_callback(self._asked)
        self._seen: list[bytes | None] = []

    def _asked(self, connection: SSL.Connection) -> None:
        self._seen.append(connection.get_servername())

    def name(self, data: bytes) -> list[bytes | None]:
        """Empty when OpenSSL refused before it asked for a certificate."""
        self._seen = []
        server = SSL.Connection(self._context, None)
        server.set_accept_state()
        server.bio_write(data)
        with suppress(SSL.Error):
            server.do_handshake()
        return self._seen


SERVER = OpensslServer()
REAL = openssl_hello("first.example", ["h2", "http/1.1"])


def agree(data: bytes) -> None:
    """Where OpenSSL finds a name, we find the same or refuse; never another, never none."""
    seen = SERVER.name(data)
    try:
        found = peek(data)
    except (NotTLS, InvalidHello):
        return
    if seen:
        assert isinstance(found, ClientHello)
        assert found.server_name == seen[0]


def test_openssl_finds_names_at_all() -> None:
    """The control: without it the next two could not fail."""
    assert SERVER.name(REAL) == [b"first.example"] == [read(REAL).server_name]
    assert SERVER.name(records(REAL[5:], 100)) == [b"first.example"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(REAL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutations_never_make_us_read_another_name_than_openssl(changes: list[tuple[int, int]]) -> None:
    data = bytearray(REAL)
    for place, octet in changes:
        data[place] = octet
    agree(bytes(data))


@settings(max_examples=200, deadline=None)
@given(
    names=st.lists(st.sampled_from([b"a.example", b"b.example", b"", b"a\0b", b"x" * 256]), max_size=3),
    kind=st.integers(0, 1),
    twice=st.booleans(),
    size=st.integers(12, 1 << 14),
)
def test_built_hellos_never_make_us_read_another_name_than_openssl(
    *, names: list[bytes], kind: int, twice: bool, size: int
) -> None:
    original = REAL[9:]
    ciphers_end = (
        35 + original[34] + 2 + int.from_bytes(original[35 + original[34] : 37 + original[34]], "big")
    )
    extensions_at = ciphers_end + 1 + original[ciphers_end] + 2
    rest = original[extensions_at:]
    kept = b""
    while rest:
        end = 4 + int.from_bytes(rest[2:4], "big")
        if rest[:2] != b"\x00\x00":
            kept += rest[:end]
        rest = rest[end:]
    ours = server_name(*names, kind=kind) * (2 if twice else 1)
    agree(records(message(original[: extensions_at - 2] + vector(2, ours + kept)), size))
