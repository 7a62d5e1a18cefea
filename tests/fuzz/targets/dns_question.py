"""DNS questions of a container: a value whatever the bytes are, and an answer that fits and can be read (B class).

What dnspython takes for the question, a reader that walks the labels by RFC 1035 section 3.1 takes for it too.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import dns.edns
import dns.message
import dns.rcode
import dns.rdataclass

from appliance.names import HostName, InvalidName
from appliance.resolver.exchange import to_host_name
from appliance.resolver.message import (
    MAX_QUESTION,
    ExtendedError,
    Question,
    Unreadable,
    read_question,
    refuse_unread,
    write_answer,
)

HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
OPT = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
WITH_OPT = HEADER[:11] + b"\x01"
QUESTION = b"\x02ok\x07example\x00\x00\x01\x00\x01"
SEEDS = (
    b"\x00" + HEADER + QUESTION,
    b"\x00" + WITH_OPT + QUESTION + OPT,
    b"\x01" + QUESTION,
    b"\x02" + QUESTION + OPT,
    b"\x01\xc0\x0c\x00\x01\x00\x01",
    b"\x01\xc0\x00\x00\x01\x00\x01",
    b"\x01\x01.\x03o.k\x00\x00\x01\x00\x01",
    b"\x01\x02ok\x07example\x00\x00\x1c\x00\xff",
    b"\x02" + QUESTION + b"\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00",
    b"\x02" + QUESTION + b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x0c\x00\x0a\x00\x08cookieid",
    b"\x02" + QUESTION + b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x0b\x00\x08\x00\x07\x00\x01\x18\x00\x7f\x00\x00",
    b"\x02" + QUESTION + b"\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x10" + b"\x00" * 16,
    b"\x01" + b"".join(b"\x3f" + b"x" * 63 for _ in range(4)) + b"\x00\x00\x01\x00\x01",
    b"\x00\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION,
    b"\x00\x12\x34\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION,
)  # fmt: skip
TOKENS = (
    b"\xc0\x0c",
    b"\x00\x01\x00\x01",
    b"\x00\x00\x29",
    b"\x00\x1c",
    b"\x00\xff",
    b"\x00\x00\xfa\x00\xff",
    QUESTION,
)
SIZES = (512, 1232, 65535)
ADDRESSES = tuple(IPv4Address(0x5DB8D800 + n) for n in range(100))


def one(data: bytes) -> None:
    """The first octet says how much of a good header stands before the rest, and what is answered."""
    if not data:
        return
    wire = (b"", HEADER, WITH_OPT)[data[0] % 3] + data[1:]
    read = read_question(wire)
    _check_unread(wire, refuse_unread(wire), read)
    if isinstance(read, Unreadable):
        if read.answer is not None:
            _check_answer(wire, read.answer, 1232)
        return
    assert len(wire) <= MAX_QUESTION
    assert 512 <= read.max_udp <= 1232
    _check_name(read)
    size = (*SIZES, read.max_udp)[data[0] >> 2 & 3]
    error = ExtendedError(dns.edns.EDECode.BLOCKED, "why: " + "ü" * 300)
    _check_answer(wire, write_answer(read, dns.rcode.REFUSED, max_size=size, error=error), size)
    known = ADDRESSES[: data[0]]
    answer = write_answer(read, dns.rcode.NOERROR, max_size=size, addresses=known, ttl=60)
    reply = _check_answer(wire, answer, size)
    assert reply.question == read.message.question
    assert len(reply.answer[0] if reply.answer else ()) in (0, len(known))


def _by_hand(wire: bytes) -> tuple[tuple[bytes, ...], int, int] | None:
    """Labels, type, class; None where the name is no plain list of labels."""
    labels, at = [], len(HEADER)
    while wire[at]:
        if wire[at] > 63:
            return None
        labels.append(wire[at + 1 : at + 1 + wire[at]])
        at += 1 + wire[at]
    return (
        tuple(labels),
        int.from_bytes(wire[at + 1 : at + 3], "big"),
        int.from_bytes(wire[at + 3 : at + 5], "big"),
    )


def _check_unread(wire: bytes, refused: bytes | None, read: Question | Unreadable) -> None:
    """What is refused without being read echoes the question that reading it would have found."""
    if isinstance(read, Question):
        by_hand = _by_hand(wire)
        assert (refused is None) == (by_hand is None)
        if by_hand is not None:
            assert (read.name.labels, read.type, dns.rdataclass.IN) == ((*by_hand[0], b""), *by_hand[1:])
    if refused is not None:
        assert len(refused) <= len(wire)
        assert refused[:2] == wire[:2]
        assert refused[2] & 0x80
        assert refused[3] & 0x0F == dns.rcode.REFUSED
        assert refused[4:12] == b"\0\1\0\0\0\0\0\0"
        assert wire[len(HEADER) :].startswith(refused[len(HEADER) :])
        if isinstance(read, Question):
            assert dns.message.from_wire(refused).question == read.message.question


def _check_name(read: Question) -> None:
    assert read.type_text
    try:
        name = to_host_name(read.name)
    except InvalidName:
        return
    assert HostName.parse(read.name.to_text(omit_final_dot=True)) == name


def _check_answer(wire: bytes, answer: bytes, size: int) -> dns.message.Message:
    assert len(answer) <= size
    assert answer[:2] == wire[:2]
    reply = dns.message.from_wire(answer)
    assert reply.flags & 0x8000
    return reply
