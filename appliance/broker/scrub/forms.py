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

from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.sequences import Part, Parts, literal, one_of, quoted, whole

SHORTEST = 8
"""Octets: a shorter secret would be found in ordinary text. A call that needs one is not made."""
LONGEST = 4096
"""Octets of one secret, enough for an RSA key of 4096 bits in PEM."""
MOST = 4 * LONGEST
"""Octets of all live secrets of one call."""
PIECE, MOST_PIECES = 64, 32
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
_BACKSLASHES, _PERCENT = rb"\\{1,8}", rb"%(?:25){0,2}"
ESCAPE_BEGUN = (
    rb"(?:\\{1,8}(?:u[0-9A-Fa-f]{0,3})?"
    rb"|%(?:25){0,2}2?[0-9A-Fa-f]?"
    rb"|&(?:[a-z]{0,6}|#[0-9]{0,7}|#[xX][0-9A-Fa-f]{0,6}))?"
)
"""What may begin an escape of any character, or nothing: no part tells how its own escapes begin."""


def pieces(secrets: Iterable[bytes]) -> tuple[Parts, ...]:
    """All pieces of all forms. Raises `ScrubFault` when a secret is too short or all are too long."""
    distinct = dict.fromkeys(secrets)
    if any(len(secret) < SHORTEST for secret in distinct):
        raise ScrubFault("scrub-secret-short", f"a secret of fewer than {SHORTEST} octets cannot be scrubbed")
    if any(len(secret) > LONGEST for secret in distinct) or sum(map(len, distinct)) > MOST:
        raise ScrubFault("scrub-secret-long", f"more than {LONGEST} octets of one secret, or {MOST} of all")
    found = (piece for secret in distinct for form in forms(secret) for piece in _cut(form))
    return tuple({whole(piece): piece for piece in found}.values())


def forms(secret: bytes) -> Iterator[Parts]:
    """Every form of one secret."""
    yield _text(secret)
    yield tuple(part for octet in secret for part in _hex(octet))
    for alignment in range(3):
        yield _base64(secret, alignment)


def _cut(form: Parts) -> Iterator[Parts]:
    count = min(MOST_PIECES, -(-len(form) // PIECE))
    bounds = [len(form) * number // count for number in range(count + 1)]
    yield from (form[start:end] for start, end in pairwise(bounds))


def _text(secret: bytes) -> Parts:
    try:
        return tuple(map(_character, secret.decode("utf-8")))
    except UnicodeDecodeError:
        return tuple(map(_octet, secret))


@lru_cache(maxsize=256)
def _hex(octet: int) -> Parts:
    return tuple(Part(_either_case(digit), b"", 1) for digit in f"{octet:02x}")


def _base64(secret: bytes, alignment: int) -> Parts:
    """The whole characters of base64 when `alignment` octets of a group of three stand before the secret."""
    first = -(-alignment * 8 // 6)
    last = (alignment + len(secret)) * 8 // 6
    return tuple(_BASE64[character] for character in b64encode(bytes(alignment) + secret)[first:last])


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
    return _escape(_PERCENT + whole(_hex(octet)), 7)


def _escaped(unit: int) -> Part:
    r"""`\uXXXX`, a code unit of UTF-16 (RFC 8259 section 7)."""
    return _escape(_BACKSLASHES + b"u" + b"".join(map(_either_case, f"{unit:04x}")), 13)


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


_BASE64 = {character: literal(bytes((character,)))[0] for character in range(128)} | {
    ord("+"): one_of((_character("+"),), literal(b"-")),
    ord("/"): one_of((_character("/"),), literal(b"_")),
}
