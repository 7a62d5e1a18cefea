"""One exchange with an upstream server: the query we write, and whether a reply may be believed.

RFC 5452 §9 (what a reply must match), draft-vixie-dnsext-dns0x20 (case of the name as added entropy),
RFC 1034 §3.6.2 (CNAME). Pure: randomness comes in, decisions go out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from appliance.names import HostName, InvalidName
from appliance.resolver.message import EDNS_UDP, addresses_of, dotted
from appliance.resolver.outcome import Absent, Found, Unusable, UpstreamResult

MAX_LINKS = 8
MAX_ADDRESSES = 128
_HEADER = struct.Struct(">6H")
_QR = 0x8000


@dataclass(frozen=True, slots=True)
class Query:
    """A query as sent: its id, the name in the very case in which it was written, and its bytes."""

    name: HostName
    identity: int
    asked: dns.name.Name
    wire: bytes


@dataclass(frozen=True, slots=True)
class Foreign:
    """Bytes that are no reply to the query: someone else's, a late one, or a forgery. Keep waiting."""

    why: str


@dataclass(frozen=True, slots=True)
class Retry:
    """A reply that may be ours but cannot be used as it came over UDP; ask the same server over TCP."""

    why: str


def write_query(name: HostName, random_bits: Callable[[int], int]) -> Query:
    """An A query for `name`. `random_bits(n)` gives n unpredictable bits (`secrets.randbits`)."""
    identity = random_bits(16)
    coin = random_bits(len(name.text))
    cased = "".join(letter.upper() if coin >> place & 1 else letter for place, letter in enumerate(name.text))
    asked = dns.name.from_text(cased)
    message = dns.message.make_query(asked, dns.rdatatype.A, use_edns=0, payload=EDNS_UDP, id=identity)
    return Query(name, identity, asked, message.to_wire())


def read_reply(query: Query, wire: bytes, *, over_tcp: bool) -> UpstreamResult | Foreign | Retry:
    """What `wire` says about the query's name. Never raises.

    Over TCP the connection itself vouches for the sender, so the case of the name may differ there: some
    servers answer in lower case.
    """
    if len(wire) < _HEADER.size:
        return Foreign("shorter than a header")
    identity, flags, questions, *_ = _HEADER.unpack_from(wire)
    if identity != query.identity or not flags & _QR:
        return Foreign("another id, or no response")
    # RFC 2181 §9: ignore what a truncated response holds.
    if flags & dns.flags.TC and not over_tcp:
        return Retry("truncated")
    if questions != 1:
        return _unreadable(over_tcp=over_tcp)
    try:
        message = dns.message.from_wire(wire)
        (question,) = message.question
    except (dns.exception.DNSException, ValueError, KeyError, IndexError, struct.error):
        return _unreadable(over_tcp=over_tcp)
    if (
        message.opcode() != dns.opcode.QUERY
        or (question.rdclass, question.rdtype) != (dns.rdataclass.IN, dns.rdatatype.A)
        or question.name != query.asked
    ):
        return Foreign("another question")
    if question.name.labels != query.asked.labels and not over_tcp:
        return Retry("the case of the name differs")
    if over_tcp and flags & dns.flags.TC:
        return Unusable("upstream-failed", "the name server truncated its answer over TCP")
    match message.rcode():
        case dns.rcode.NOERROR:
            return _read_answer(query, message)
        case dns.rcode.NXDOMAIN:
            return _absent(query, message)
        case rcode:
            return Unusable("upstream-failed", f"the name server answered {dns.rcode.to_text(rcode)}")


def _unreadable(*, over_tcp: bool) -> Retry | Unusable:
    if over_tcp:
        return Unusable("upstream-failed", "the name server sent an unreadable answer")
    return Retry("unreadable")


def _read_answer(query: Query, message: dns.message.Message) -> UpstreamResult:
    """Follow CNAMEs from the asked name through the answer section, and no other section."""
    owner, links, ttl = query.asked, list[HostName](), 2**31 - 1
    while True:
        found = _record_set(message, owner, dns.rdatatype.A)
        if found is not None:
            addresses = tuple(dict.fromkeys(addresses_of(found)))
            if len(addresses) > MAX_ADDRESSES:
                return Unusable("upstream-failed", f"the answer has over {MAX_ADDRESSES} addresses")
            return Found(addresses, tuple(links), min(ttl, found.ttl))
        alias = _record_set(message, owner, dns.rdatatype.CNAME)
        if alias is None:
            return Absent(tuple(links), _negative_ttl(message, ttl), exists=True)
        if len(alias) != 1 or len(links) == MAX_LINKS:
            return Unusable("upstream-failed", f"the chain of CNAMEs is ambiguous or over {MAX_LINKS} links")
        owner, ttl = alias[0].target, min(ttl, alias.ttl)
        try:
            links.append(to_host_name(owner))
        except InvalidName as error:
            return Unusable("upstream-failed", f"a CNAME leads to what is no host name ({error.reason})")


def _absent(query: Query, message: dns.message.Message) -> UpstreamResult:
    """NXDOMAIN. RFC 6604 §3: with CNAMEs in the answer it speaks of the last name of the chain."""
    result = _read_answer(query, message)
    if isinstance(result, Absent):
        return Absent(result.links, result.ttl, exists=False)
    return Unusable("upstream-failed", "the name server answered NXDOMAIN and an address")


def _record_set(
    message: dns.message.Message, owner: dns.name.Name, kind: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    for rrset in message.answer:
        if (rrset.name, rrset.rdclass, rrset.rdtype) == (owner, dns.rdataclass.IN, kind):
            return rrset
    return None


def _negative_ttl(message: dns.message.Message, ttl: int) -> int:
    """RFC 2308 §5: the lesser of the SOA's own TTL and its MINIMUM field; without a SOA, no time at all."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return min(ttl, rrset.ttl, int(rrset[0].minimum))
    return 0


def to_host_name(name: dns.name.Name) -> HostName:
    """A wire name as a host name; a dot inside a label is never a separator. Raises `InvalidName`."""
    return HostName.parse(dotted(name))
