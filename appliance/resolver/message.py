"""DNS messages between a container and us: a strict reader of questions, a writer of answers.

RFC 1035 §4 (wire), RFC 6891 (EDNS), RFC 8914 (Extended DNS Errors). Whatever bytes come, `read_question`
returns a value and never raises: a question, or the answer that the bytes deserve, or silence.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

MAX_QUESTION = 512
"""Octets of a question that we read: a name (255 at most), a type, the EDNS options of today's clients.
What is longer holds options by the hundred, which cost milliseconds to read."""

PLAIN_UDP = 512
EDNS_UDP = 1232
MAX_TCP = 65535
_HEADER = struct.Struct(">6H")
_QR = 0x8000
_OPCODE = 0x7800
_MAX_EDE_TEXT = 160  # octets: with the longest name all of it fits into 512
_LONGEST_LABEL = 63
_QUESTION_TAIL = 5  # the root label, type and class


@dataclass(frozen=True, slots=True)
class Question:
    """What a container asks. `message` is the query as read, `max_udp` the size of its answer over UDP."""

    message: dns.message.Message
    name: dns.name.Name
    type: dns.rdatatype.RdataType
    max_udp: int

    @property
    def has_edns(self) -> bool:
        """Whether the asker understands an OPT record in the answer."""
        return self.message.edns >= 0

    @property
    def type_text(self) -> str:
        """Mnemonic of the type, such as `A` or `TYPE65400`."""
        return dns.rdatatype.to_text(self.type)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes that hold no question for us; `answer` is what to send back, None for silence."""

    answer: bytes | None
    rcode: dns.rcode.Rcode = dns.rcode.FORMERR


@dataclass(frozen=True, slots=True)
class ExtendedError:
    """An Extended DNS Error: its INFO-CODE (RFC 8914 §4) and text."""

    code: dns.edns.EDECode
    text: str


def read_question(wire: bytes) -> Question | Unreadable:
    """The one question in `wire`. Never raises."""
    if len(wire) < _HEADER.size:
        return Unreadable(None)
    identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(wire)
    # RFC 1035 §4.1.1: QR is set in responses. To answer a response is how loops between servers begin.
    if flags & _QR:
        return Unreadable(None)
    # RFC 1035 §4.1.1 and RFC 1996, 2136: only standard queries are ours.
    if flags & _OPCODE:
        return _unreadable(identity, flags, dns.rcode.NOTIMP)
    # RFC 9619: a query has exactly one question. Answers and authorities have no place in one; we are
    # stricter here than servers that ignore them. The one additional record is OPT (RFC 6891 §6.1.1).
    if questions != 1 or answers or authorities or additional > 1 or len(wire) > MAX_QUESTION:
        return _unreadable(identity, flags, dns.rcode.FORMERR)
    try:
        message = dns.message.from_wire(wire)
        (asked,) = message.question
    except (dns.exception.DNSException, ValueError, KeyError, IndexError, struct.error):
        return _unreadable(identity, flags, dns.rcode.FORMERR)
    # RFC 6891 §6.1.3: an EDNS version that we do not speak is BADVERS.
    if message.edns > 0:
        return Unreadable(_to_wire(_reply_to(message, dns.rcode.BADVERS), EDNS_UDP), dns.rcode.BADVERS)
    if asked.rdclass != dns.rdataclass.IN:
        return _unreadable(identity, flags, dns.rcode.REFUSED)
    # RFC 6891 §6.2.3: sizes below 512 are 512. Never more than 1232: the link drops fragments.
    max_udp = min(max(message.payload, PLAIN_UDP), EDNS_UDP) if message.edns == 0 else PLAIN_UDP
    return Question(message, asked.name, asked.rdtype, max_udp)


def refuse_unread(wire: bytes) -> bytes | None:
    """REFUSED to a query of which no more is read than where its question ends; None for what is no query.

    Header and question as they came, since clients compare both: never longer than `wire`.
    """
    if not _HEADER.size < len(wire) <= MAX_QUESTION:
        return None
    identity, flags, questions, *_ = _HEADER.unpack_from(wire)
    if flags & (_QR | _OPCODE) or questions != 1:
        return None
    at = _HEADER.size
    while at < len(wire) and wire[at]:
        # RFC 1035 §4.1.4: the two high bits are a pointer's, and a first name has nothing to point to.
        if wire[at] > _LONGEST_LABEL:
            return None
        at += 1 + wire[at]
    end = at + _QUESTION_TAIL
    if end > len(wire):
        return None
    answered = _QR | (flags & dns.flags.RD) | dns.flags.RA | dns.rcode.REFUSED
    return _HEADER.pack(identity, answered, 1, 0, 0, 0) + wire[_HEADER.size : end]


def write_answer(
    question: Question,
    rcode: dns.rcode.Rcode,
    *,
    max_size: int,
    addresses: tuple[IPv4Address, ...] = (),
    ttl: int = 0,
    error: ExtendedError | None = None,
) -> bytes:
    """The answer to `question` in at most `max_size` octets; too large a set is cut and marked with TC."""
    reply = _reply_to(question.message, rcode)
    if question.has_edns and error is not None:
        # RFC 8914 §2: EXTRA-TEXT is for people; a resolver must not act on it.
        text = error.text.encode()[:_MAX_EDE_TEXT].decode(errors="ignore")
        reply.use_edns(0, 0, EDNS_UDP, options=[dns.edns.EDEOption(error.code, text)])
    if addresses:
        reply.answer.append(
            dns.rrset.from_text_list(
                question.name,
                ttl,
                dns.rdataclass.IN,
                dns.rdatatype.A,
                [str(address) for address in addresses],
            )
        )
    return _to_wire(reply, max_size)


def dotted(name: dns.name.Name) -> bytes:
    """The name without its last dot; a dot inside a label is written so that no host name can hold it."""
    return b".".join(label.replace(b".", b"\\.") for label in name.labels if label)


def _reply_to(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True, our_payload=EDNS_UDP)
    reply.set_rcode(rcode)
    return reply


def _to_wire(reply: dns.message.Message, max_size: int) -> bytes:
    try:
        return reply.to_wire(max_size=max_size)
    except dns.exception.TooBig:
        # RFC 2181 §9: with TC set the asker drops what is there and asks again over TCP.
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        return reply.to_wire(max_size=max(max_size, PLAIN_UDP))


def _unreadable(identity: int, flags: int, rcode: dns.rcode.Rcode) -> Unreadable:
    """A bare header: the question was not understood, so none is repeated."""
    kept = flags & (_OPCODE | dns.flags.RD)
    return Unreadable(_HEADER.pack(identity, _QR | kept | dns.flags.RA | rcode, 0, 0, 0, 0), rcode)
