"""appliance.broker.identity.trusted_headers: believed from whom it was configured, taken out for everybody."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from appliance.broker.identity.actors import Caller, CallerFault, CallerMode, CallerRefusal
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.identity.trusted_headers import Headers, Peer, TrustedHeaders, UnixPeer, strip

TRUSTED = TrustedHeaders("acme", AddressAllowlist.parse(["192.0.2.7", "2001:db8::7"]), frozenset({990}))
PROXY, STRANGER = ip_address("192.0.2.7"), ip_address("192.0.2.8")
FIELDS: Headers = (
    (b"Host", b"x"),
    (b"X-Egress-Actor", b"alice"),
    (b"x-egress-scopes", b"calls:write audit:read"),
)


def read(headers: Headers, peer: Peer = PROXY) -> Any:
    answer = TRUSTED.read(headers, peer)
    return answer.fault if isinstance(answer, CallerRefusal) else answer


@pytest.mark.parametrize(
    "peer", [PROXY, ip_address("2001:db8::7"), ip_address("::ffff:192.0.2.7"), UnixPeer(990)]
)
def test_002_23_a_configured_peer_names_the_caller(peer: Peer) -> None:
    scopes = frozenset({"calls:write", "audit:read"})
    assert read(FIELDS, peer) == Caller(CallerMode.TRUSTED_HEADER, "alice", "acme", scopes)


@pytest.mark.parametrize("peer", [STRANGER, ip_address("2001:db8::8"), UnixPeer(0), UnixPeer(991)])
def test_002_23_from_anybody_else_the_fields_name_nobody(peer: Peer) -> None:
    assert read(FIELDS, peer) is None


@pytest.mark.parametrize(
    "name",
    [b"X-Egress-Actor", b"x-egress-actor", b"X-EGRESS-ACTOR", b"X_Egress_Actor", b"X-Egress_Actor", b"X-Egress-Actor ",
     b" x-egress-actor", b"X-Egress-Scopes", b"x_egress_scopes"],
)  # fmt: skip
def test_002_23_every_copy_is_taken_out(name: bytes) -> None:
    kept: Headers = ((b"Host", b"x"), (b"X-Egress-Actors", b"y"), (b"Actor", b"z"))
    assert strip((kept[0], (name, b"root"), *kept[1:], (name, b"root"))) == kept


def test_002_23_another_spelling_is_the_callers_own_and_names_nobody() -> None:
    assert read(((b"X_Egress_Actor", b"root"),)) is None
    assert read((*FIELDS, (b"X_Egress_Actor", b"root"))).actor == "alice"


@pytest.mark.parametrize(
    "headers",
    [(*FIELDS, (b"x-egress-actor", b"root")), (*FIELDS, (b"X-Egress-Scopes", b"admin")), FIELDS[2:],
     ((b"X-Egress-Actor", b""),), ((b"X-Egress-Actor", b"a b"),), ((b"X-Egress-Actor", b"alice, root"),),
     ((b"X-Egress-Actor", b"\xff"),), (FIELDS[1], (b"X-Egress-Scopes", b"a  b")), (FIELDS[1], (b"X-Egress-Scopes", b"\xff"))],
)  # fmt: skip
def test_002_23_fields_that_can_be_read_in_two_ways_are_refused(headers: Headers) -> None:
    assert read(headers) is CallerFault.HEADERS_MALFORMED


def test_002_23_no_scopes_are_no_scopes() -> None:
    assert read(FIELDS[:2]).scopes == frozenset()
    assert read(((b"Host", b"x"),)) is None


def test_002_23_a_mode_that_trusts_nobody_or_everybody_by_mistake_does_not_start() -> None:
    with pytest.raises(ValueError):
        TrustedHeaders("acme")
