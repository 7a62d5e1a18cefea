"""One exchange with an upstream server: the query we write, and whether a reply may be believed.

RFC 5452 §9 (what a reply must match), draft-vixie-dnsext-dns0x20 (case of the name as added entropy),
RFC 1034 §3.6.2 (CNAME). Pure: randomness comes in, decisions go out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import dns.flags
import dns.name
import dns.rcode

from appliance.names import HostName, InvalidName
from appliance.resolver.message import dotted, write_name, write_opt
from appliance.resolver.outcome import Absent, Found, Unusable, UpstreamResult
from appliance.resolver.reply import MAX_RECORDS, MAX_REPLY, Labels, Reply, UnreadableReply, read_records

MAX_LINKS = 8
MAX_ADDRESSES = 128
_HEADER = struct.Struct(">6H")
_QR = 0x8000
_OPCODE = 0x7800
_RCODE = 0x000F
_A_IN = b"\0\1\0\1"


@dataclass(frozen=True, slots=True)
class Query:
    """A query as sent: its id, the name in the very case in which it was written, and its bytes."""

    name: HostName
    identity: int
    asked: dns.name.Name
    wire: bytes

    @property
    def question(self) -> bytes:
        """The question section: the name as it was cased, type and class."""
        name = sum(1 + len(label) for label in self.asked.labels)
        return self.wire[_HEADER.size : _HEADER.size + name + len(_A_IN)]


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
    head = _HEADER.pack(identity, dns.flags.RD, 1, 0, 0, 1)
    return Query(name, identity, asked, head + write_name(asked) + _A_IN + write_opt())


def read_reply(query: Query, wire: bytes, *, over_tcp: bool) -> UpstreamResult | Foreign | Retry:
    """What `wire` says about the query's name. Never raises.

    Over TCP the connection itself vouches for the sender, so the case of the name may differ there: some
    servers answer in lower case.
    """
    if len(wire) < _HEADER.size:
        return Foreign("shorter than a header")
    identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(wire)
    if identity != query.identity or not flags & _QR:
        return Foreign("another id, or no response")
    # RFC 2181 §9: ignore what a truncated response holds.
    if flags & dns.flags.TC and not over_tcp:
        return Retry("truncated")
    if questions != 1:
        return _unreadable(over_tcp=over_tcp)
    # No octet but a letter's changes with its case: lengths are below 64, type and class are 1.
    start = _HEADER.size + len(query.question)
    question = wire[_HEADER.size : start]
    if flags & _OPCODE or question.lower() != query.question.lower():
        return Foreign("another question")
    if question != query.question and not over_tcp:
        return Retry("the case of the name differs")
    if over_tcp and flags & dns.flags.TC:
        return Unusable("upstream-failed", "the name server truncated its answer over TCP")
    if len(wire) > MAX_REPLY or answers + authorities + additional > MAX_RECORDS:
        return too_large() if over_tcp else Retry("too large")
    try:
        reply = read_records(wire, start, (answers, authorities, additional))
    except UnreadableReply:
        return _unreadable(over_tcp=over_tcp)
    match dns.rcode.Rcode.make(reply.rcode_high << 4 | flags & _RCODE):
        case dns.rcode.NOERROR:
            return _read_answer(query, reply)
        case dns.rcode.NXDOMAIN:
            return _absent(query, reply)
        case rcode:
            return Unusable("upstream-failed", f"the name server answered {dns.rcode.to_text(rcode)}")


def too_large() -> Unusable:
    """A reply over TCP that is not read: it costs all tenants time, and no other server's is smaller."""
    return Unusable(
        "upstream-failed", f"the answer has over {MAX_RECORDS} records or {MAX_REPLY} octets", final=True
    )


def _unreadable(*, over_tcp: bool) -> Retry | Unusable:
    if over_tcp:
        return Unusable("upstream-failed", "the name server sent an unreadable answer")
    return Retry("unreadable")


def _read_answer(query: Query, reply: Reply) -> UpstreamResult:
    """Follow CNAMEs from the asked name through the answer section, and no other section."""
    owner: Labels = tuple(label.lower() for label in query.asked.labels if label)
    links, ttl = list[HostName](), 2**31 - 1
    while True:
        found = reply.addresses.get(owner)
        if found is not None:
            addresses = tuple(dict.fromkeys(found.values))
            if len(addresses) > MAX_ADDRESSES:
                detail = f"the answer has over {MAX_ADDRESSES} addresses"
                return Unusable("upstream-failed", detail, final=True)
            return Found(addresses, tuple(links), min(ttl, found.ttl))
        alias = reply.aliases.get(owner)
        if alias is None:
            return Absent(tuple(links), min(ttl, reply.negative_ttl), exists=True)
        if len(alias.targets) != 1 or len(links) == MAX_LINKS:
            return Unusable("upstream-failed", f"the chain of CNAMEs is ambiguous or over {MAX_LINKS} links")
        (owner,), ttl = alias.targets, min(ttl, alias.ttl)
        try:
            links.append(to_host_name(dns.name.Name((*owner, b""))))
        except InvalidName as error:
            return Unusable("upstream-failed", f"a CNAME leads to what is no host name ({error.reason})")


def _absent(query: Query, reply: Reply) -> UpstreamResult:
    """NXDOMAIN. RFC 6604 §3: with CNAMEs in the answer it speaks of the last name of the chain."""
    result = _read_answer(query, reply)
    if isinstance(result, Absent):
        return Absent(result.links, result.ttl, exists=False)
    return Unusable("upstream-failed", "the name server answered NXDOMAIN and an address")


def to_host_name(name: dns.name.Name) -> HostName:
    """A wire name as a host name; a dot inside a label is never a separator. Raises `InvalidName`."""
    return HostName.parse(dotted(name))
