"""DNS questions of a container: a value whatever the bytes are, and an answer that fits and can be read (B class)."""

from __future__ import annotations

from ipaddress import IPv4Address

import dns.edns
import dns.message
import dns.rcode

from appliance.names import HostName, InvalidName
from appliance.resolver.exchange import to_host_name
from appliance.resolver.message import (
    MAX_QUESTION,
    ExtendedError,
    Question,
    Unreadable,
    read_question,
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
