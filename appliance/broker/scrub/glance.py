r"""A glance at octets that tells, nearly always, that no live secret is in them.

It takes a tenth of the time of the expressions that know every notation of every character (`thorough`), most
of which is their compilation. What it looks for is a part of every match. A piece has at least twice `HALF`
units, or two halves of half its own length. Written out, and cut before its second half,

- either no unit of the first half is escaped, and then the first half stands in the octets as it is,
- or one is: then from the first such escape on, octets and escapes are read as the piece is written, and the
  second half stands in what they say.

For that no unit may itself begin an escape: of secrets with `%`, `&` or `\` in them, or with what is not
ASCII, there is no glance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from appliance.broker.scrub.forms import ESCAPE_BEGUN, LONGEST_ESCAPE, Piece
from appliance.broker.scrub.sequences import Expression, Parts, begun, compiled, either, whole

HALF = 8
"""Units: fewer would be found in ordinary text."""
MOST_ESCAPES = 8
"""At the end of octets; where more of them are, what they may begin is not asked here."""
MOST_READ = 256 << 10
"""Octets with escapes that one glance reads: the thorough expressions are quicker, once they are there."""

_ESCAPE = re.compile(
    rb"\\{1,8}+(?:u00([0-7][0-9A-Fa-f])|([\"/bfnrt]))|%(?:25){0,2}([0-7][0-9A-Fa-f])"
    rb"|&(?:#[xX]([0-7]?[0-9A-Fa-f]);|#([0-9]{1,3});|(quot|apos|lt|gt|plus|sol|equals);)"
)
_SHORT = {b'"': b'"', b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_NAMED = {
    b"quot": b'"',
    b"apos": b"'",
    b"lt": b"<",
    b"gt": b">",
    b"plus": b"+",
    b"sol": b"/",
    b"equals": b"=",
}
_BEGUN = compiled(ESCAPE_BEGUN + rb"\z")


def unescaped(text: bytes) -> bytes:
    """What octets say: each escape of an ASCII character is read once, from the left. Takes linear time."""
    return _ESCAPE.sub(_said, text)


def _said(escape: re.Match[bytes]) -> bytes:
    unit, short, percent, sixteen, ten, name = escape.groups()
    if short is not None:
        return _SHORT[short]
    if name is not None:
        return _NAMED[name]
    number = int(ten) if ten is not None else int(unit or percent or sixteen, 16)
    return bytes((number,)) if number < 128 else escape[0]


class Glance:
    """At the pieces of all forms of the live secrets of one call."""

    def __init__(self, pieces: Sequence[Piece], ends: frozenset[int]) -> None:
        """All `pieces` have a plain notation; `ends` has every octet of theirs, and more."""
        self._pieces = pieces
        self._ends = ends
        self._first_half = compiled(either(whole(_plain(piece)[: _half(piece)]) for piece in pieces))
        self._signs = (b"\\u00", *(b"\\" + short for short, unit in _SHORT.items() if unit[0] in ends))
        self._read = 0

    @cached_property
    def _second_half(self) -> Expression:
        return compiled(either(whole(_plain(piece)[_half(piece) :]) for piece in self._pieces))

    @cached_property
    def _begun(self) -> Expression:
        return compiled(either(begun(_plain(piece)) for piece in self._pieces) + rb"\z")

    def sure(self, text: bytes, at: int) -> bool:
        """Whether no match begins in `text` from `at` on."""
        if self._first_half.within(text, at):
            return False
        if not self._has_escapes(text, at):
            return True
        self._read += len(text) - at
        return self._read <= MOST_READ and not self._second_half.within(unescaped(text[at:]), 0)

    def held(self, text: bytes, at: int) -> int | None:
        """From where on `text` is the beginning of a match, its length if from nowhere; None if in doubt."""
        end = at + _begun_escape(text[at:])
        near = text[max(at, end - 2 * HALF * LONGEST_ESCAPE) : end]
        if not self.sure(text[at:end], 0) or self._may_begin_escaped(near):
            return None
        begin = max(at, end - 2 * HALF)
        found = self._begun.search(text[begin:end])
        return begin + found.start() if found else end

    def _has_escapes(self, text: bytes, at: int) -> bool:
        if text.find(b"\\", at) >= 0:
            for sign in self._signs:
                if text.find(sign, at) >= 0:
                    return True
        return text.find(b"%", at) >= 0 or text.find(b"&", at) >= 0

    def _may_begin_escaped(self, text: bytes) -> bool:
        """Whether `text` ends with fewer units than both halves have, of which one of the first is escaped.

        What stands before the escape is taken as it is: that it is the end of another escape, it cannot know.
        """
        escapes = [each for each in _ESCAPE.finditer(text) if _said(each)[0] in self._ends]
        return len(escapes) > MOST_ESCAPES or any(self._begins_by(text, each.start()) for each in escapes)

    def _begins_by(self, text: bytes, escape: int) -> bool:
        before = text[max(0, escape - HALF) : escape]
        said = before + unescaped(text[escape:])
        found = self._begun.search(said, max(0, len(said) - 2 * HALF))
        return found is not None and found.start() <= len(before)


def _half(piece: Piece) -> int:
    return min(HALF, len(piece.units) // 2)


def _plain(piece: Piece) -> Parts:
    """Both halves, as they are where nothing is escaped."""
    plain = piece.notation.plain
    assert plain is not None
    assert isinstance(piece.units, bytes)
    return tuple([plain[octet] for octet in piece.units[: 2 * _half(piece)]])


def _begun_escape(text: bytes) -> int:
    """Where an escape of any character begins with which `text` ends, its length if there is none."""
    near = max(0, len(text) - LONGEST_ESCAPE)
    found = _BEGUN.search(text, near)
    return found.start() if found else len(text)
