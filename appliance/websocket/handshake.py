"""Opening a WebSocket (RFC 6455 section 4), read strictly on both sides before a byte of it goes through.

Extensions are never offered to the server: without them the reserved bits of every frame are zero, nothing is
compressed, and what frames mean is the same for everybody.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1

from appliance.http1 import grammar
from appliance.http1.fields import Headers
from appliance.http1.head import RequestHead
from appliance.http1.refused import Refused, UpstreamInvalid
from appliance.http1.response import ResponseHead

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 6455 section 4.1: 16 octets in base64. Of the last character only two bits are used: the rest is zero.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==\Z").match


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client asked for: its key (base64), and the subprotocols that it offers."""

    key: bytes
    subprotocols: tuple[bytes, ...] = ()

    @property
    def fields(self) -> Headers:
        """All Sec-WebSocket fields that go to the server."""
        fields = ((b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", self.key))
        if not self.subprotocols:
            return fields
        return (*fields, (b"Sec-WebSocket-Protocol", b", ".join(self.subprotocols)))

    @property
    def accept(self) -> bytes:
        """The only right answer to the key (RFC 6455 section 4.2.2)."""
        return b64encode(sha1(self.key + _GUID, usedforsecurity=False).digest())


def offered(head: RequestHead) -> tuple[str, ...]:
    """The subprotocols of a request as they were written, for the policy; not one is checked yet."""
    values = _values(head.headers, b"sec-websocket-protocol")
    return tuple(member.strip(" \t") for value in values for member in value.decode("ascii").split(","))


def asked(head: RequestHead) -> Handshake:
    """The handshake of a GET with `Upgrade: websocket`. Raises `Refused`."""
    # RFC 9110 section 7.8: in HTTP/1.0 an Upgrade is to be ignored, and so is one not named by Connection.
    if not head.http_11 or b"upgrade" not in head.nominated:
        raise _refused("an upgrade needs HTTP/1.1 and `Connection: Upgrade`")
    keys = list(_values(head.headers, b"sec-websocket-key"))
    if len(keys) != 1 or not _KEY(keys[0]):
        raise _refused("Sec-WebSocket-Key must be 16 octets in base64, once")
    if list(_values(head.headers, b"sec-websocket-version")) != [b"13"]:
        raise _refused("the only Sec-WebSocket-Version spoken is 13")
    subprotocols = tuple(member.encode("ascii") for member in offered(head))
    if len(set(subprotocols)) != len(subprotocols) or not all(map(grammar.token, subprotocols)):
        raise _refused("Sec-WebSocket-Protocol must list distinct tokens")
    return Handshake(keys[0], subprotocols)


def verify_accepted(head: ResponseHead, handshake: Handshake) -> None:
    """Whether a 101 is the answer to this handshake and no other. Raises `UpstreamInvalid`."""
    if not head.http_11 or b"upgrade" not in head.nominated:
        raise _invalid("its 101 does not say `Connection: Upgrade`")
    if [value.lower() for value in _values(head.headers, b"upgrade")] != [b"websocket"]:
        raise _invalid("it switched to another protocol")
    if list(_values(head.headers, b"sec-websocket-accept")) != [handshake.accept]:
        raise _invalid("its Sec-WebSocket-Accept does not answer the key")
    if any(True for _ in _values(head.headers, b"sec-websocket-extensions")):
        raise _invalid("it uses an extension that was not offered")
    chosen = list(_values(head.headers, b"sec-websocket-protocol"))
    if chosen and (len(chosen) > 1 or chosen[0] not in handshake.subprotocols):
        raise _invalid("it chose a subprotocol that was not offered")


def _values(headers: Headers, wanted: bytes) -> Iterator[bytes]:
    return (value for name, value in headers if name.lower() == wanted)


def _refused(detail: str) -> Refused:
    return Refused(400, "websocket-handshake-invalid", detail)


def _invalid(detail: str) -> UpstreamInvalid:
    return UpstreamInvalid("websocket-not-accepted", f"the server took no part in the handshake: {detail}")
