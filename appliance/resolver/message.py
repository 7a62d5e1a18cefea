"""DNS messages between a container and us: a strict reader of questions, a writer of answers.

RFC 1035 §4 (wire), RFC 6891 (EDNS), RFC 8914 (Extended DNS Errors). Whatever bytes come, `read_question`
returns a value and never raises: a question, or the answer that the bytes deserve, or silence.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
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

MAX_QUESTION = 512
"""Octets of a question that we read: a name (255 at most), a type, the EDNS options of today's clients.
What is longer holds options by the hundred, which cost milliseconds to read."""

PLAIN_UDP = 512
EDNS_UDP = 1232
MAX_TCP = 65535
_HEADER = struct.Struct(">6H")
_QUESTION_END = struct.Struct(">HH")  # type, class
_ADDRESS = struct.Struct(">HHHIH")  # a pointer for an owner; type, class, TTL, length
_OPT = struct.Struct(">BHHIH")  # the root for an owner; type, our size, upper bits of the RCODE, length
_EXTENDED_ERROR = struct.Struct(">HHH")  # option's code and length, INFO-CODE
_TO_QUESTION = 0xC000 | _HEADER.size
_A, _IN, _OPT_TYPE = 1, 1, 41
_QR = 0x8000
_OPCODE = 0x7800
_RCODE = 0x000F
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
        answer = _reply_to(message, dns.rcode.BADVERS, write_opt(dns.rcode.BADVERS))
        return Unreadable(answer, dns.rcode.BADVERS)
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
    """The answer to `question` in at most `max_size` octets; too large a set is cut and marked with TC.

    Written here, since dnspython takes ten milliseconds for 64 addresses of a name of a hundred labels.
    """
    opt = b""
    if question.has_edns:
        opt = write_opt(rcode, b"" if error is None else _extended_error(error))
    # RFC 1035 §4.1.4: each record's owner is a pointer to the name of the question.
    records = [_ADDRESS.pack(_TO_QUESTION, _A, _IN, ttl, 4) + one.packed for one in addresses]
    answer = _reply_to(question.message, rcode, opt, records)
    if len(answer) <= max_size:
        return answer
    # RFC 2181 §9: with TC set the asker drops what is there and asks again over TCP.
    return _reply_to(question.message, rcode, opt, truncated=True)


def write_name(name: dns.name.Name) -> bytes:
    """The name as it stands in a message, without compression."""
    return b"".join(bytes([len(label)]) + label for label in name.labels)


def write_opt(rcode: int = 0, options: bytes = b"") -> bytes:
    """An OPT record of ours (RFC 6891 §6.1.2); in place of a TTL it has the upper bits of `rcode`."""
    return _OPT.pack(0, _OPT_TYPE, EDNS_UDP, rcode >> 4 << 24, len(options)) + options


def dotted(name: dns.name.Name) -> bytes:
    """The name without its last dot; a dot inside a label is written so that no host name can hold it."""
    return b".".join(label.replace(b".", b"\\.") for label in name.labels if label)


def _extended_error(error: ExtendedError) -> bytes:
    # RFC 8914 §2: EXTRA-TEXT is for people; a resolver must not act on it.
    text = error.text.encode()[:_MAX_EDE_TEXT].decode(errors="ignore").encode()
    return _EXTENDED_ERROR.pack(dns.edns.OptionType.EDE, 2 + len(text), error.code) + text


def _reply_to(
    query: dns.message.Message,
    rcode: dns.rcode.Rcode,
    opt: bytes,
    records: Sequence[bytes] = (),
    *,
    truncated: bool = False,
) -> bytes:
    (asked,) = query.question
    flags = _QR | query.flags & dns.flags.RD | dns.flags.RA | rcode & _RCODE
    if truncated:
        flags |= dns.flags.TC
    head = _HEADER.pack(query.id, flags, 1, len(records), 0, 1 if opt else 0)
    question = write_name(asked.name) + _QUESTION_END.pack(asked.rdtype, asked.rdclass)
    return b"".join((head, question, *records, opt))


def _unreadable(identity: int, flags: int, rcode: dns.rcode.Rcode) -> Unreadable:
    """A bare header: the question was not understood, so none is repeated."""
    kept = flags & (_OPCODE | dns.flags.RD)
    return Unreadable(_HEADER.pack(identity, _QR | kept | dns.flags.RA | rcode, 0, 0, 0, 0), rcode)
