"""Live secrets in every notation of every character, exactly.

Small expressions of the pieces' heads look at everything; exact ones are made when a head is met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

from appliance.broker.scrub.forms import ESCAPE_BEGUN
from appliance.broker.scrub.sequences import (
    Expression,
    Parts,
    begun,
    compiled,
    either,
    longest,
    which_of,
    whole,
)

HEAD = 6
"""Parts of a piece that every octet of a stream is compared with; the rest only where these are."""
FEW = 2000
"""Parts of all pieces that one exact expression is made of."""
LARGE = 16 << 20
"""Octets of automaton that a hostile text may make RE2 keep."""


class Thorough:
    """The pieces of all forms, each as all of its parts."""

    def __init__(self, pieces: Sequence[Parts]) -> None:
        self._pieces = pieces
        heads = [piece[:HEAD] for piece in pieces]
        self._heads = compiled(either(map(whole, heads)), LARGE)
        begun_heads = (
            begun(head, None if len(piece) <= HEAD else b"(?s:.*)")
            for head, piece in zip(heads, pieces, strict=True)
        )
        self._begun = compiled(either(begun_heads) + ESCAPE_BEGUN + rb"\z", LARGE)

    @cached_property
    def _exact(self) -> Exact:
        few = sum(map(len, self._pieces)) <= FEW
        return Together(self._pieces) if few else OneByOne(self._pieces, self._heads)

    def first(self, text: bytes, at: int) -> tuple[int, int] | None:
        """Where the first match from `at` on begins and ends."""
        if not self._heads.within(text, at):
            return None
        head = self._heads.search(text, at)
        assert head is not None
        return self._exact.first(text, head.start())

    def held(self, text: bytes, at: int) -> int:
        """From where on `text` is the beginning of a match, its length if from nowhere.

        What looks like an escape that has begun is held wherever a secret may go on.
        """
        found = self._begun.search(text, at)
        if found and self._heads.search(text, found.start()):
            return self._exact.held(text, at)
        return len(text) if found is None else found.start()


class Exact(Protocol):
    """Whole pieces, where a head has been met."""

    def first(self, text: bytes, at: int) -> tuple[int, int] | None:
        """Where the first piece from `at` on begins and ends."""

    def held(self, text: bytes, at: int) -> int:
        """From where on `text` is the beginning of a piece, its length if from nowhere."""


class Together:
    """All pieces in one expression: where they are few, as those of a token are."""

    def __init__(self, pieces: Sequence[Parts]) -> None:
        self._whole = compiled(either(map(whole, pieces)), LARGE)
        self._begun = compiled(either(map(begun, pieces)) + ESCAPE_BEGUN + rb"\z", LARGE)

    def first(self, text: bytes, at: int) -> tuple[int, int] | None:
        """As `Exact`."""
        found = self._whole.search(text, at)
        return (found.start(), found.end()) if found else None

    def held(self, text: bytes, at: int) -> int:
        """As `Exact`."""
        found = self._begun.search(text, at)
        return len(text) if found is None else found.start()


class OneByOne:
    """Pieces of long secrets, as keys in PEM are: each is compiled when its own head is met.

    In one expression they would take a second to compile.
    """

    def __init__(self, pieces: Sequence[Parts], heads: Expression) -> None:
        self._pieces = pieces
        self._heads = heads
        self._which = which_of([whole(piece[:HEAD]) for piece in pieces])
        partly = either(begun(piece[:HEAD]) for piece in pieces)
        self._partly = compiled(partly + ESCAPE_BEGUN + rb"\z", LARGE)
        self._longest = max(longest(piece[:HEAD]) for piece in pieces)
        self._compiled: dict[int, tuple[Expression, Expression]] = {}

    def first(self, text: bytes, at: int) -> tuple[int, int] | None:
        """As `Exact`."""
        while head := self._heads.search(text, at):
            start = head.start()
            ends = [found.end() for piece, _ in self._at(text, start) if (found := piece.match(text, start))]
            if ends:
                return start, max(ends)
            at = start + 1
        return None

    def held(self, text: bytes, at: int) -> int:
        """As `Exact`."""
        partly = self._partly.search(text, at)
        held = len(text) if partly is None else partly.start()
        while (head := self._heads.search(text, at)) and (start := head.start()) < held:
            if any(piece.match(text, start) for _, piece in self._at(text, start)):
                return start
            at = start + 1
        return held

    def _at(self, text: bytes, start: int) -> Iterator[tuple[Expression, Expression]]:
        """The expressions of the pieces whose head stands at `start`."""
        for index in self._which(text[start : start + self._longest]):
            if index not in self._compiled:
                piece = self._pieces[index]
                self._compiled[index] = compiled(whole(piece)), compiled(begun(piece) + ESCAPE_BEGUN + rb"\z")
            yield self._compiled[index]
