"""Replies of a hostile name server: a value whatever the bytes are, and no address that is not in them (B class)."""

from __future__ import annotations

from appliance.names import HostName
from appliance.resolver.exchange import (
    MAX_ADDRESSES,
    MAX_LINKS,
    Foreign,
    Query,
    Retry,
    read_reply,
    write_query,
)
from appliance.resolver.outcome import Absent, Found, Unusable

QUERY: Query = write_query(HostName("ok.example"), lambda bits: 0)
HEADER = b"\x00\x00\x81\x80\x00\x01"
QUESTION = b"\x02ok\x07example\x00\x00\x01\x00\x01"
A = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x5d\xb8\xd8\x22"
CNAME = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x0f"
SOA = b"\xc0\x0f\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x18\x01a\xc0\x0f\x01b\xc0\x0f" + b"\x00\x00\x00\x09" * 4
SEEDS = (
    b"\x00\x00\x01\x00\x00\x00\x00" + QUESTION + A,
    b"\x01\x00\x01\x00\x00\x00\x00" + QUESTION + A,
    b"\x00\x00\x02\x00\x00\x00\x00" + QUESTION + CNAME + A.replace(b"\xc0\x0c", b"\xc0\x28", 1),
    b"\x00\x00\x01\x00\x00\x00\x00" + QUESTION + b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c",
    b"\x00\x00\x00\x00\x01\x00\x00" + QUESTION + SOA,
    b"\x02\x00\x00\x00\x01\x00\x00" + QUESTION + SOA,
    b"\x00\x00\x00\x00\x00\x00\x01" + QUESTION + b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00",
    b"\x00\x00\x01\x00\x00\x00\x00\x02oK\x07example\x00\x00\x01\x00\x01" + A,
    b"\x04\x00\x01\x00\x00\x00\x00" + QUESTION + A,
    b"\x03" + bytes(QUERY.wire),
)  # fmt: skip
TOKENS = (
    QUESTION,
    A,
    CNAME,
    SOA,
    b"\xc0\x0c",
    b"\x00\x01\x00\x01",
    b"\x00\x05\x00\x01",
    b"\x00\x00\x00\x3c",
    b"\x00\x04",
)


def one(data: bytes) -> None:
    """The first octet: transport, rcode and truncation of a header that fits the query; 3: the bytes as they are."""
    if not data:
        return
    kind, rest = data[0], data[1:]
    wire = HEADER + rest
    if kind & 2:
        wire = b"\x00\x00\x81\x83\x00\x01" + rest
    if kind & 4:
        wire = b"\x00\x00\x83\x80\x00\x01" + rest
    if kind & 3 == 3:
        wire = rest
    for over_tcp in (False, True):
        found = read_reply(QUERY, wire, over_tcp=over_tcp)
        assert isinstance(found, Foreign | Retry | Absent | Found | Unusable)
        assert not (over_tcp and isinstance(found, Retry))
        if isinstance(found, Found | Absent):
            assert len(found.links) <= MAX_LINKS
            assert 0 <= found.ttl <= 2**31 - 1
        if isinstance(found, Found):
            assert 0 < len(found.addresses) <= MAX_ADDRESSES
            assert all(address.packed in wire for address in found.addresses)
