"""A look at a TLS ClientHello before anybody answers it: which name is asked for, by which protocols.

Reads RFC 8446 section 4.1.2 in records of section 5.1, server_name (RFC 6066 section 3), ALPN (RFC 7301
section 3.1), supported_versions (RFC 8446 section 4.2.1). Whatever two readers could take for two names is
invalid. Pure, bounded at `MAX_HELLO` bytes in `MAX_RECORDS` records.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.http1.refused import NeedMore

MAX_HELLO = 64 * 1024
MAX_RECORDS = 32

_CLIENT_HELLO = 1  # HandshakeType
_RECORD_HEADER = 5
_MESSAGE_HEADER = 4
_MAX_FRAGMENT = 1 << 14

_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43
_ENCRYPTED_CLIENT_HELLO = 0xFE0D
_ENCRYPTED_SNI = 0xFFCE  # the draft that ECH grew from

_TRUNCATED = "a length points past the end of the ClientHello"


class NotTLS(Exception):
    """The bytes begin no TLS handshake: another protocol is spoken here."""


class InvalidHello(Exception):
    """A TLS handshake that begins with no acceptable ClientHello. `reason` is a stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What the client asked for, as bytes nobody has interpreted yet.

    `server_name` is None where the extension is absent. `versions` are the codes offered (0x0303 is TLS 1.2,
    0x0304 TLS 1.3), from supported_versions or else the legacy field. `ech` is set where the real name may be
    hidden inside an encrypted hello (also where the client only pretends so).
    """

    server_name: bytes | None
    alpn: tuple[bytes, ...]
    ech: bool
    versions: tuple[int, ...]


def peek(buffer: bytes | bytearray) -> NeedMore | ClientHello:
    """Read a ClientHello from the front of `buffer`. Raises `NotTLS` or `InvalidHello`."""
    message = _message(buffer)
    return NeedMore(len(buffer)) if message is None else _client_hello(message)


def _message(buffer: bytes | bytearray) -> bytes | None:
    """The body of the first handshake message, put together from its records, or None if it is not whole."""
    fragments: list[bytes | bytearray] = []
    at = gathered = 0
    wanted: int | None = None
    while at < len(buffer):
        _check_record_start(buffer, at)
        header = buffer[at : at + _RECORD_HEADER]
        if len(header) < _RECORD_HEADER:
            break
        length = header[3] << 8 | header[4]
        # RFC 8446 section 5.1: handshake fragments are not empty and at most 2^14 bytes.
        if not 0 < length <= _MAX_FRAGMENT:
            raise InvalidHello("record-length", f"a handshake record of {length} bytes")
        if len(fragments) == MAX_RECORDS:
            raise InvalidHello("too-many-records", f"a ClientHello in more than {MAX_RECORDS} records")
        at += _RECORD_HEADER
        fragments.append(buffer[at : at + length])
        gathered += len(fragments[-1])
        at += length
        if wanted is None:
            wanted = _message_size(b"".join(fragments))
        if wanted is not None and gathered >= wanted:
            if gathered > wanted or at > len(buffer):
                # RFC 8446 section 5.1: a ClientHello ends with its record.
                raise InvalidHello("hello-trailing", "bytes follow the ClientHello in its record")
            return b"".join(fragments)[_MESSAGE_HEADER:]
    return None


def _check_record_start(buffer: bytes | bytearray, at: int) -> None:
    known = bytes(buffer[at : at + 2])
    # Content type 22, then version 3.x in every TLS there has been (RFC 8446 section 5.1).
    if known not in {b"\x16", b"\x16\x03"}:
        if at == 0:
            raise NotTLS("no TLS handshake record")
        raise InvalidHello("record-type", "the ClientHello is interrupted by another record")


def _message_size(start: bytes) -> int | None:
    """Size of the handshake message with its header; None while the header is not whole."""
    if start and start[0] != _CLIENT_HELLO:
        raise InvalidHello(
            "not-client-hello", f"handshake message type {start[0]} where a ClientHello belongs"
        )
    if len(start) < _MESSAGE_HEADER:
        return None
    size = int.from_bytes(start[1:_MESSAGE_HEADER], "big") + _MESSAGE_HEADER
    if size > MAX_HELLO:
        raise InvalidHello("hello-too-large", f"a ClientHello of {size} bytes; {MAX_HELLO} are read")
    return size


class _Vectors:
    """Reads the vectors of RFC 8446 section 3.4 from the front of a byte string."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise InvalidHello("hello-truncated", _TRUNCATED)
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int, minimum: int = 0) -> bytes:
        length = self.number(length_size)
        if length < minimum:
            raise InvalidHello("vector-too-short", "a list in the ClientHello is shorter than allowed")
        return self.take(length)


def _client_hello(body: bytes) -> ClientHello:
    reader = _Vectors(body)
    legacy_version = reader.number(2)
    reader.take(32)  # random
    if len(reader.vector(1)) > 32:
        raise InvalidHello("session-id", "a session id over 32 bytes")
    if len(reader.vector(2, 2)) % 2:
        raise InvalidHello("cipher-suites", "an odd number of bytes in the cipher suites")
    reader.vector(1, 1)  # compression methods
    extensions = _extensions(reader.vector(2)) if reader.left else {}
    if reader.left:
        raise InvalidHello("hello-trailing", "bytes follow the extensions of the ClientHello")
    name = extensions.get(_SERVER_NAME)
    protocols = extensions.get(_ALPN)
    versions = extensions.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        None if name is None else _server_name(name),
        () if protocols is None else _protocols(protocols),
        _ENCRYPTED_CLIENT_HELLO in extensions or _ENCRYPTED_SNI in extensions,
        (legacy_version,) if versions is None else _versions(versions),
    )


def _extensions(data: bytes) -> dict[int, bytes]:
    # Without `_Vectors`, for there are a dozen and more: 11 us for a hello instead of 16.
    found: dict[int, bytes] = {}
    at, size = 0, len(data)
    while at < size:
        begin = at + 4
        if begin > size:
            raise InvalidHello("hello-truncated", _TRUNCATED)
        kind = data[at] << 8 | data[at + 1]
        end = begin + (data[at + 2] << 8 | data[at + 3])
        if end > size:
            raise InvalidHello("hello-truncated", _TRUNCATED)
        # RFC 8446 section 4.2: at most one extension of each type.
        if kind in found:
            raise InvalidHello("extension-repeated", f"extension {kind} stands twice")
        found[kind] = data[begin:end]
        at = end
    return found


def _server_name(data: bytes) -> bytes:
    names = _whole(_Vectors(data), 2, 1)
    # RFC 6066 section 3: one name of each type, and host_name (0) is the only type there is.
    if names.number(1) != 0:
        raise InvalidHello("server-name-type", "a server name that is no host name")
    name = names.vector(2, 1)
    if names.left:
        raise InvalidHello("server-name-repeated", "more than one server name")
    return name


def _protocols(data: bytes) -> tuple[bytes, ...]:
    names = _whole(_Vectors(data), 2, 2)
    found = []
    while names.left:
        found.append(names.vector(1, 1))
    return tuple(found)


def _versions(data: bytes) -> tuple[int, ...]:
    codes = _whole(_Vectors(data), 1, 2)
    found = []
    while codes.left:
        found.append(codes.number(2))
    return tuple(found)


def _whole(reader: _Vectors, length_size: int, minimum: int) -> _Vectors:
    """The one vector that an extension consists of."""
    inside = _Vectors(reader.vector(length_size, minimum))
    if reader.left:
        raise InvalidHello("extension-trailing", "bytes follow the list in an extension")
    return inside
