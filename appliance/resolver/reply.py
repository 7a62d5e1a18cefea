"""The records of an upstream server's reply, read at a cost that its octets bound (RFC 1035 §4.1). Pure.

Whoever owns a zone writes the reply, and one process reads it for all tenants. So only what an A question can
make use of is read, the data of other types are passed over, and a name to which many others point is read
once: dnspython takes half a second for 200 NS records of a long name, which are 3 KiB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address

MAX_REPLY = 4096
"""Octets: the 128 addresses that an answer may have take half of it, aliases and referrals the rest."""
MAX_RECORDS = 200
MAX_POINTERS = 16
"""Pointers of one name that lead to each other."""

Labels = tuple[bytes, ...]
"""A name: its labels in lower case, without the root."""

_A, _CNAME, _SOA, _OPT, _IN = 1, 5, 6, 41, 1
_RECORD = struct.Struct(">HHIH")  # type, class, TTL, length of the data
_SERIAL_TO_MINIMUM = struct.Struct(">5I")
_MAX_NAME = 255
_MAX_LABEL = 63
_POINTER = 0xC0
_MAX_TTL = 2**31 - 1


class UnreadableReply(Exception):
    """The octets are no DNS message, or one that breaks off."""


@dataclass(slots=True)
class Addresses:
    """The A records of one name, in order; `ttl` is the least of theirs, in seconds."""

    values: list[IPv4Address] = field(default_factory=list)
    ttl: int = _MAX_TTL


@dataclass(slots=True)
class Alias:
    """The CNAME records of one name: more than one target is a fault of the zone (RFC 2181 §10.1)."""

    targets: set[Labels] = field(default_factory=set)
    ttl: int = _MAX_TTL


@dataclass(slots=True)
class Reply:
    """What a reply holds. `addresses` and `aliases` are of its answer section, by name.

    `negative_ttl` is RFC 2308 §5's: the lesser of the SOA's own TTL and its MINIMUM field; without a SOA, no
    time at all. `rcode_high` are the eight upper bits of the extended RCODE (RFC 6891 §6.1.3).
    """

    addresses: dict[Labels, Addresses] = field(default_factory=dict)
    aliases: dict[Labels, Alias] = field(default_factory=dict)
    negative_ttl: int = 0
    rcode_high: int = 0


def read_records(wire: bytes, start: int, counts: tuple[int, int, int]) -> Reply:
    """The records from `start` on; `counts` are the header's. Raises `UnreadableReply`.

    The caller has seen to it that there are no more than `MAX_RECORDS` in `MAX_REPLY` octets.
    """
    try:
        return _Reader(wire).read(start, counts)
    except (IndexError, struct.error):
        raise UnreadableReply from None


class _Reader:
    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._pointed_to: dict[int, Labels] = {}
        self._reply = Reply()
        self._has_soa = self._has_opt = False

    def read(self, at: int, counts: tuple[int, int, int]) -> Reply:
        for section, count in enumerate(counts):
            for _ in range(count):
                at = self._record(at, section)
        if at != len(self._wire):
            raise UnreadableReply
        return self._reply

    def _record(self, at: int, section: int) -> int:
        """Take in the record at `at` of the answer (0), authority (1) or additional section (2)."""
        owner, at = self._name(at)
        kind, rdclass, ttl, length = _RECORD.unpack_from(self._wire, at)
        at += _RECORD.size
        end: int = at + length
        if end > len(self._wire):
            raise UnreadableReply
        # RFC 2181 §8: a TTL with the most significant bit set is zero.
        ttl = 0 if ttl > _MAX_TTL else ttl
        if kind == _OPT:
            self._options(owner, section, at)
        elif rdclass == _IN and section == 0 and kind == _A:
            self._address(owner, ttl, at, end)
        elif rdclass == _IN and section == 0 and kind == _CNAME:
            self._alias(owner, ttl, at, end)
        elif rdclass == _IN and section == 1 and kind == _SOA:
            self._absence(ttl, at, end)
        return end

    def _options(self, owner: Labels, section: int, at: int) -> None:
        # RFC 6891 §6.1.1: at most one, in the additional section, owned by the root.
        if owner or section != 2 or self._has_opt:
            raise UnreadableReply
        self._has_opt = True
        self._reply.rcode_high = self._wire[at - 6]  # the first octet of what is a TTL elsewhere

    def _address(self, owner: Labels, ttl: int, at: int, end: int) -> None:
        # RFC 1035 §3.4.1: four octets.
        if end - at != 4:
            raise UnreadableReply
        found = self._reply.addresses.setdefault(owner, Addresses())
        found.values.append(IPv4Address(self._wire[at:end]))
        found.ttl = min(found.ttl, ttl)

    def _alias(self, owner: Labels, ttl: int, at: int, end: int) -> None:
        target, after = self._name(at)
        if after != end:
            raise UnreadableReply
        found = self._reply.aliases.setdefault(owner, Alias())
        found.targets.add(target)
        found.ttl = min(found.ttl, ttl)

    def _absence(self, ttl: int, at: int, end: int) -> None:
        _, at = self._name(at)
        _, at = self._name(at)
        if end - at != _SERIAL_TO_MINIMUM.size:
            raise UnreadableReply
        *_, minimum = _SERIAL_TO_MINIMUM.unpack_from(self._wire, at)
        if not self._has_soa:
            self._has_soa = True
            self._reply.negative_ttl = min(ttl, minimum)

    def _name(self, at: int, pointers: int = 0) -> tuple[Labels, int]:
        """The name at `at`, and where what follows it begins."""
        wire, start = self._wire, at
        labels: list[bytes] = []
        tail: Labels = ()
        while True:
            length = wire[at]
            at += 1
            if not length:
                break
            if length >= _POINTER:
                # RFC 1035 §4.1.4: a pointer leads to a prior occurrence of the name.
                target = (length - _POINTER) << 8 | wire[at]
                at += 1
                if target >= start or pointers == MAX_POINTERS:
                    raise UnreadableReply
                known = self._pointed_to.get(target)
                if known is None:
                    known, _ = self._name(target, pointers + 1)
                    self._pointed_to[target] = known
                tail = known
                break
            if length > _MAX_LABEL:
                raise UnreadableReply
            labels.append(wire[at : at + length].lower())
            at += length
        name = (*labels, *tail)
        if sum(map(len, name)) + len(name) + 1 > _MAX_NAME:
            raise UnreadableReply
        return name, at
