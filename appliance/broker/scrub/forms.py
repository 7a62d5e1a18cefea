r"""The forms in which a live secret may come back, each as a sequence of parts.

| form   | what is found                                                                                 |
|--------|-----------------------------------------------------------------------------------------------|
| text   | every character by itself raw, percent-encoded (RFC 3986, up to three times over), escaped as |
|        | in JSON (`\u002f`, `\/`, JSON in JSON in JSON) or as a character reference of HTML            |
| hex    | either case, also mixed                                                                       |
| base64 | all three alignments, both alphabets, padded or not, its `+` and `/` escaped as text is       |

A character that a neighbour has a part in (the first and last of base64) is not searched for. A form of
more than `PIECE` parts is cut into even pieces, `MOST_PIECES` at most, and each is found by itself: so what
is held back is bounded, and part of a long secret is found too. Wrapped lines, UTF-16, what is written
backwards and what is encrypted are not found.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.sequences import Part, Parts, literal, longest, one_of, quoted

SHORTEST = 8
"""Octets: a shorter secret would be found in ordinary text. A call that needs one is not made."""
LONGEST = 4096
"""Octets of one secret, enough for an RSA key of 4096 bits in PEM."""
MOST = 4 * LONGEST
"""Octets of all live secrets of one call."""
PIECE, MOST_PIECES = 64, 32
LONGEST_ESCAPE = 13
"""Octets: eight backslashes and `uXXXX`."""
_SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_REFERENCES = {
    '"': "quot",
    "&": "amp",
    "'": "apos",
    "<": "lt",
    ">": "gt",
    "+": "plus",
    "/": "sol",
    "=": "equals",
}
_BEGINS_ESCAPE = re.compile(rb"[%\\&]")
_BACKSLASHES, _PERCENT = rb"\\{1,8}", rb"%(?:25){0,2}"
ESCAPE_BEGUN = (
    rb"(?:\\{1,8}(?:u[0-9A-Fa-f]{0,3})?"
    rb"|%(?:25){0,2}2?[0-9A-Fa-f]?"
    rb"|&(?:[a-z]{0,6}|#[0-9]{0,7}|#[xX][0-9A-Fa-f]{0,6}))?"
)
"""What may begin an escape of any character, or nothing: no part tells how its own escapes begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Notation:
    """`part_of` gives for a unit, a character or an octet, all ways in which it may be written.

    `plain` has by octet those octets that stand for it without an escape; None where a unit may itself begin
    an escape, or is not ASCII. `escaped` are the units of which there are escapes, None where of all.
    """

    part_of: Callable[[Any], Part]
    plain: tuple[bytes, ...] | None
    escaped: bytes | None = None


class Piece(NamedTuple):
    """A form, or an even part of one."""

    units: str | bytes
    notation: Notation

    def parts(self) -> Parts:
        """Every way in which it may be written."""
        return tuple(map(self.notation.part_of, self.units))

    def longest(self) -> int:
        """Octets of the longest."""
        if self.notation.plain is None:
            return longest(self.parts())
        escaped = self.notation.escaped
        assert isinstance(self.units, bytes)
        often = len(self.units) if escaped is None else sum(map(self.units.count, escaped))
        return len(self.units) + (LONGEST_ESCAPE - 1) * often


def pieces(secrets: Iterable[bytes]) -> tuple[Piece, ...]:
    """All pieces of all forms. Raises `ScrubFault` when a secret is too short or all are too long."""
    distinct = dict.fromkeys(secrets)
    if any(len(secret) < SHORTEST for secret in distinct):
        raise ScrubFault("scrub-secret-short", f"a secret of fewer than {SHORTEST} octets cannot be scrubbed")
    if any(len(secret) > LONGEST for secret in distinct) or sum(map(len, distinct)) > MOST:
        raise ScrubFault("scrub-secret-long", f"more than {LONGEST} octets of one secret, or {MOST} of all")
    return tuple({piece: None for secret in distinct for form in forms(secret) for piece in _cut(form)})


def possible_ends(pieces: Iterable[Piece]) -> frozenset[int]:
    """Octets, one of which is the last of whatever may become a match."""
    texts = {piece.units for piece in pieces if piece.notation not in {_HEX, _BASE64}}
    octets = b"".join(text if isinstance(text, bytes) else text.encode() for text in texts)
    return _ENDS.union(octets)


def forms(secret: bytes) -> Iterator[Piece]:
    """Every form of one secret, whole."""
    yield _text(secret)
    yield Piece(secret.hex().encode(), _HEX)
    for alignment in range(3):
        yield Piece(_base64(secret, alignment), _BASE64)


def _cut(form: Piece) -> Iterator[Piece]:
    size = len(form.units)
    if size <= PIECE:  # of a token nearly all
        yield form
        return
    count = min(MOST_PIECES, -(-size // PIECE))
    for start, end in pairwise(size * number // count for number in range(count + 1)):
        yield Piece(form.units[start:end], form.notation)


def _text(secret: bytes) -> Piece:
    if secret.isascii() and not _BEGINS_ESCAPE.search(secret):
        return Piece(secret, _ASCII)
    try:
        return Piece(secret.decode("utf-8"), _UNICODE)
    except UnicodeDecodeError:
        return Piece(secret, _OCTETS)


def _base64(secret: bytes, alignment: int) -> bytes:
    """The whole characters of base64 when `alignment` octets of a group of three stand before the secret."""
    first = -(-alignment * 8 // 6)
    last = (alignment + len(secret)) * 8 // 6
    return b64encode(bytes(alignment) + secret)[first:last]


@lru_cache(maxsize=1024)
def _character(character: str) -> Part:
    """One character of a text, in any notation."""
    octets = character.encode("utf-8")
    choices = [literal(octets), tuple(_percent(octet) for octet in octets)]
    units = character.encode("utf-16-be")
    choices.append(
        tuple(_escaped(int.from_bytes(units[at : at + 2], "big")) for at in range(0, len(units), 2))
    )
    if character in _SHORT_ESCAPES:
        choices.append((_escape(_BACKSLASHES + quoted(_SHORT_ESCAPES[character].encode()), 9),))
    if character == " ":
        choices.append(literal(b"+"))
    if not character.isalnum():
        choices += ((_escape(reference, 10),) for reference in _references(character))
    return one_of(*choices)


@lru_cache(maxsize=256)
def _octet(octet: int) -> Part:
    """One octet of what is no text."""
    return one_of(literal(bytes((octet,))), (_percent(octet),), (_escaped(octet),))


def _percent(octet: int) -> Part:
    return _escape(_PERCENT + b"".join(map(_either_case, f"{octet:02x}")), 7)


def _escaped(unit: int) -> Part:
    r"""`\uXXXX`, a code unit of UTF-16 (RFC 8259 section 7)."""
    return _escape(_BACKSLASHES + b"u" + b"".join(map(_either_case, f"{unit:04x}")), LONGEST_ESCAPE)


def _references(character: str) -> Iterator[bytes]:
    yield b"&#[xX]%b;" % b"".join(map(_either_case, f"{ord(character):x}"))
    yield b"&#%d;" % ord(character)
    if character in _REFERENCES:
        yield b"&%b;" % _REFERENCES[character].encode()


def _escape(text: bytes, longest: int) -> Part:
    return Part(text, b"", longest)


def _either_case(digit: str) -> bytes:
    upper, lower = digit.upper().encode(), digit.encode()
    return lower if upper == lower else b"[%b%b]" % (upper, lower)


_DIGITS = {ord(digit): Part(_either_case(digit), b"", 1) for digit in "0123456789abcdef"}
_OF_BASE64 = {octet: literal(bytes((octet,)))[0] for octet in range(128)} | {
    ord("+"): one_of((_character("+"),), literal(b"-")),
    ord("/"): one_of((_character("/"),), literal(b"_")),
}
_THEMSELVES = tuple(bytes((octet,)) for octet in range(128))


def _with(others: dict[bytes, bytes]) -> tuple[bytes, ...]:
    return tuple(octet + others.get(octet, b"") for octet in _THEMSELVES)


_UNICODE = Notation(_character, None)
_OCTETS = Notation(_octet, None)
_ASCII = Notation(lambda octet: _character(chr(octet)), _with({b" ": b"+"}))
_HEX = Notation(_DIGITS.__getitem__, _with({digit: digit.upper() for digit in b"a b c d e f".split()}), b"")
_BASE64 = Notation(_OF_BASE64.__getitem__, _with({b"+": b"-", b"/": b"_"}), b"+/")
_ENDS = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/-_%&\\#;")
"""Of hexadecimal, of base64, and of escapes that have begun or stand for any character."""
