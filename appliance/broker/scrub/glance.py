r"""A glance at octets that tells, nearly always, that no live secret is in them.

It takes a small part of the time of the expressions that know every notation of every character (`thorough`),
most of which is their compilation. What it looks for is in every match. A piece begins with two halves, of
`HALF` units each, or of half its own length. Wherever it is written,

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

from appliance.broker.scrub.forms import ESCAPE_BEGUN, LONGEST_ESCAPE, Notation, Piece, possible_ends
from appliance.broker.scrub.sequences import Expression, compiled, either, quoted

HALF = 8
"""Units: fewer would be found in ordinary text."""
MOST_ESCAPES = 8
"""At the end of octets; where more of them are, what they may begin is not asked here."""
MOST_READ = 256 << 10
"""Octets with escapes that one glance reads: the thorough expressions are quicker, once they are there."""
FEW = 64 << 10
"""Octets in which all is looked for one by one; for more it is worth to compile an expression."""

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
# What stands for the same unit becomes the same octet, and some more do: that gives a doubt, no mistake.
_ALIKE = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_ ", b"abcdefghijklmnopqrstuvwxyz+/+")
_BEGUN = compiled(ESCAPE_BEGUN + rb"\z")
_ESCAPING = frozenset(b"%&\\")


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


class Needles:
    """Short runs of units, none of them escaped."""

    def __init__(self, runs: Sequence[tuple[bytes, Notation]]) -> None:
        self._runs = runs
        self._alike = {units.translate(_ALIKE) for units, _ in runs}
        self._seen = 0

    @property
    def expressions(self) -> list[bytes]:
        """Of each."""
        return [b"".join(map(_any_of, _plain(*run))) for run in self._runs]

    @cached_property
    def _expression(self) -> Expression:
        return compiled(either(self.expressions))

    def within(self, text: bytes, at: int) -> bool:
        """Whether there may be one from `at` on."""
        self._seen += len(text) - at
        if self._seen > FEW:
            return self._expression.within(text, at)
        alike = text[at:].translate(_ALIKE)
        return any(map(alike.__contains__, self._alike))


class Glance:
    """At the pieces of all forms of the live secrets of one call."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """All `pieces` have a plain notation."""
        self._pieces = pieces
        self._first_halves = Needles([(_units(piece, 0, 1), piece.notation) for piece in pieces])
        self._seen = self._read = 0

    @cached_property
    def _ends(self) -> frozenset[int]:
        """Every octet of the pieces, and more."""
        return possible_ends(self._pieces)

    @cached_property
    def _signs(self) -> tuple[bytes, ...]:
        return b"\\u00", *(b"\\" + short for short, unit in _SHORT.items() if unit[0] in self._ends)

    @cached_property
    def _doubtful(self) -> Expression:
        signs = map(quoted, (b"%", b"&", *self._signs))
        return compiled(either((*self._first_halves.expressions, *signs)))

    @cached_property
    def _second_halves(self) -> Needles:
        return Needles([(_units(piece, 1, 2), piece.notation) for piece in self._pieces])

    @cached_property
    def _by_first(self) -> dict[int, list[tuple[bytes, ...]]]:
        """By first octet how pieces begin: for each unit of both halves the octets that stand for it."""
        found: dict[int, list[tuple[bytes, ...]]] = {}
        for piece in self._pieces:
            beginning = _plain(_units(piece, 0, 2), piece.notation)
            for octet in beginning[0]:
                found.setdefault(octet, []).append(beginning)
        return found

    def sure(self, text: bytes, at: int) -> bool:
        """Whether no match begins in `text` from `at` on."""
        self._seen += len(text) - at
        if self._seen > FEW and not self._doubtful.within(text, at):
            return True
        if self._first_halves.within(text, at):
            return False
        if not self._has_escapes(text, at):
            return True
        self._read += len(text) - at
        return self._read <= MOST_READ and not self._second_halves.within(unescaped(text[at:]), 0)

    def held(self, text: bytes, at: int) -> int | None:
        """From where on `text` is the beginning of a match, its length if from nowhere; None if in doubt."""
        end = at + _begun_escape(text[at:])
        near = text[max(at, end - 2 * HALF * LONGEST_ESCAPE) : end]
        if not self.sure(text[at:end], 0) or self._may_begin_escaped(near):
            return None
        return end - len(near) + self._begun(near)

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
        if not self._has_escapes(text, 0):
            return False
        escapes = [each for each in _ESCAPE.finditer(text) if _said(each)[0] in self._ends]
        return len(escapes) > MOST_ESCAPES or any(self._begins_by(text, each.start()) for each in escapes)

    def _begins_by(self, text: bytes, escape: int) -> bool:
        before = text[max(0, escape - HALF) : escape]
        return self._begun(before + unescaped(text[escape:])) <= len(before)

    def _begun(self, text: bytes) -> int:
        """Where the beginning of a piece begins with which `text` ends, fewer units than both halves have."""
        for place in range(max(0, len(text) - 2 * HALF + 1), len(text)):
            for beginning in self._by_first.get(text[place], ()):
                if len(text) - place < len(beginning) and all(map(_is_in, text[place:], beginning)):
                    return place
        return len(text)


def _is_in(octet: int, octets: bytes) -> bool:
    return octet in octets


def _units(piece: Piece, first: int, last: int) -> bytes:
    """The units from one half to another."""
    half = min(HALF, len(piece.units) // 2)
    assert isinstance(piece.units, bytes)
    return piece.units[first * half : last * half]


def _plain(units: bytes, notation: Notation) -> tuple[bytes, ...]:
    plain = notation.plain
    assert plain is not None
    return tuple([plain[unit] for unit in units])


def _any_of(octets: bytes) -> bytes:
    return quoted(octets) if len(octets) == 1 else b"[%b]" % quoted(octets)


def _begun_escape(text: bytes) -> int:
    """Where an escape of any character begins with which `text` ends, its length if there is none."""
    near = max(0, len(text) - LONGEST_ESCAPE)
    if not {*text[near:]} & _ESCAPING:
        return len(text)
    found = _BEGUN.search(text, near)
    return found.start() if found else len(text)
