"""A TLS ClientHello by hand, so that its server name can be anything (RFC 8446 section 4.1.2, RFC 6066)."""

from __future__ import annotations

TLS_1_2 = 0x0303
TLS_1_0 = 0x0301
SSL_3 = 0x0300
ENCRYPTED_CLIENT_HELLO = 0xFE0D

_SUITES = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8)  # ECDHE with AES-GCM or ChaCha20, for TLS 1.2
_OLD_SUITES = (0xC009, 0xC013, 0x002F, 0x0035)  # AES-CBC, for TLS 1.0
_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501)
_GROUPS = (0x001D, 0x0017, 0x0018)


def _vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _codes(codes: tuple[int, ...]) -> bytes:
    return b"".join(code.to_bytes(2, "big") for code in codes)


def extension(kind: int, data: bytes) -> bytes:
    """One extension."""
    return kind.to_bytes(2, "big") + _vector(2, data)


def server_names(*names: bytes, kind: int = 0) -> bytes:
    """The extension server_name with all the names given, which is one too many from the second on."""
    return extension(0, _vector(2, b"".join(bytes([kind]) + _vector(2, name) for name in names)))


def protocols(*names: bytes) -> bytes:
    """The extension ALPN (RFC 7301 section 3.1)."""
    return extension(16, _vector(2, b"".join(_vector(1, name) for name in names)))


def client_hello(*extensions: bytes, version: int = TLS_1_2) -> bytes:
    """A record with a ClientHello of TLS 1.2 (or older) that a server can answer."""
    suites = _SUITES if version == TLS_1_2 else _OLD_SUITES
    common = (
        extension(10, _vector(2, _codes(_GROUPS))),
        extension(11, b"\1\0"),
        extension(13, _vector(2, _codes(_SIGNATURES))),
    )
    body = (
        version.to_bytes(2, "big")
        + bytes(range(32))
        + _vector(1, b"")
        + _vector(2, _codes(suites))
        + _vector(1, b"\0")
        + _vector(2, b"".join((*extensions, *common)))
    )
    return b"\x16\x03\x01" + _vector(2, b"\1" + _vector(3, body))


def encrypted_hello() -> bytes:
    """An ECH extension as a client without a key sends it (GREASE, RFC 9849 section 6.2): it says nothing."""
    suite, identifier = b"\0\1\0\1", b"\x2a"
    return extension(
        ENCRYPTED_CLIENT_HELLO, b"\0" + suite + identifier + _vector(2, bytes(32)) + _vector(2, bytes(160))
    )
