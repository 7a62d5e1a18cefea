"""Trusted-header mode: an authenticating proxy of the operator's says who calls, in fields of the request.

They count only from a configured peer. From everybody, trusted or not, every copy is taken out before the
request goes on, so that nobody behind us takes a caller's own text for the proxy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.broker.identity.actors import Caller, CallerFault, CallerMode, CallerRefusal, parse_scopes
from appliance.broker.identity.address_check import AddressAllowlist

Headers = tuple[tuple[bytes, bytes], ...]

ACTOR_FIELD = b"X-Egress-Actor"
SCOPES_FIELD = b"X-Egress-Scopes"


@dataclass(frozen=True, slots=True)
class UnixPeer:
    """The other end of a Unix socket, as the kernel tells it (SO_PEERCRED)."""

    uid: int


Peer = IPv4Address | IPv6Address | UnixPeer


NOBODY = AddressAllowlist(())


@dataclass(frozen=True, slots=True)
class TrustedHeaders:
    """Which peers are believed, and for which tenant. Raises `ValueError` when that is nobody."""

    tenant: str
    addresses: AddressAllowlist = NOBODY
    uids: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not self.addresses.networks and not self.uids:
            raise ValueError("trusted-header mode needs a peer that is trusted: name its address or its uid")

    def trusts(self, peer: Peer) -> bool:
        """Whether `peer` is one of them."""
        return peer.uid in self.uids if isinstance(peer, UnixPeer) else self.addresses.holds(peer)

    def read(self, headers: Headers, peer: Peer) -> Caller | CallerRefusal | None:
        """Whom a trusted peer names; None where the peer is not trusted, or names nobody."""
        if not self.trusts(peer):
            return None
        # Other spellings of the two names are the caller's: a proxy sends them as they are written here.
        actors = [value for name, value in headers if name.lower() == ACTOR_FIELD.lower()]
        scopes = [value for name, value in headers if name.lower() == SCOPES_FIELD.lower()]
        if not actors and not scopes:
            return None
        if len(actors) != 1 or len(scopes) > 1:
            return CallerRefusal(CallerFault.HEADERS_MALFORMED)
        try:
            granted = parse_scopes(scopes[0].decode("ascii") if scopes else "")
            return Caller(CallerMode.TRUSTED_HEADER, actors[0].decode("ascii"), self.tenant, granted)
        except ValueError:
            return CallerRefusal(CallerFault.HEADERS_MALFORMED)


def strip(headers: Headers) -> Headers:
    """Without the two fields, also where they are spelt as CGI makes them the same (RFC 3875 §4.1.18)."""
    return tuple((name, value) for name, value in headers if _cgi(name) not in _TAKEN_OUT)


def _cgi(name: bytes) -> bytes:
    return name.strip().upper().replace(b"-", b"_")


_TAKEN_OUT = frozenset({_cgi(ACTOR_FIELD), _cgi(SCOPES_FIELD)})
