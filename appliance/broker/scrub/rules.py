"""What is looked for in octets, and what at their end could become it: live secrets, and patterns.

Both answer the same two questions. `first`: the leftmost match from a place on, of several the longest.
`held`: the leftmost place from which all that is there could be the beginning of a match.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

from appliance.broker.scrub.forms import Piece, possible_ends
from appliance.broker.scrub.glance import Glance
from appliance.broker.scrub.patterns import WITHIN, Pattern, Tail
from appliance.broker.scrub.sequences import begun, compiled, either, longest, whole
from appliance.broker.scrub.thorough import LARGE, Thorough

SECRET = "secret"  # noqa: S105 - a word
"""What the marker of a live secret says."""


class Found(NamedTuple):
    """A match from `begin`, with what must come before it; `start` to `end` and `tail` are replaced."""

    begin: int
    start: int
    end: int
    name: str
    tail: Tail | None


class Rules(Protocol):
    """`context`: octets before the place in question that have a say; `window`: the most ever held."""

    context: int

    @property
    def window(self) -> int:
        """See the class."""

    def first(self, text: bytes, at: int) -> Found | None:
        """The first match from `at` on."""

    def held(self, text: bytes, at: int) -> int:
        """From where on `text` is to be held back, its length for nothing."""


class LiveRules:
    """The pieces of all forms of the live secrets of one call. Nothing of them outlives this object.

    Most calls bring none of them back: the expressions that find them are made at the first doubt.
    """

    context = 0

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        plain = all(piece.notation.plain is not None for piece in pieces)
        self._glance = Glance(pieces) if plain else None

    @cached_property
    def _ends(self) -> frozenset[int]:
        return possible_ends(self._pieces)

    @cached_property
    def window(self) -> int:
        """As `Rules`. Not asked, like the ends, where all of an answer is there at once."""
        return max(piece.longest() for piece in self._pieces) - 1

    @cached_property
    def _thorough(self) -> Thorough:
        return Thorough(tuple({whole(parts): parts for parts in map(Piece.parts, self._pieces)}.values()))

    def first(self, text: bytes, at: int) -> Found | None:
        """As `Rules`."""
        if self._glance is not None:
            if self._glance.sure(text, at):
                return None
            self._glance = None
        span = self._thorough.first(text, at)
        return Found(span[0], *span, SECRET, None) if span else None

    def held(self, text: bytes, at: int) -> int:
        """As `Rules`."""
        at = max(at, len(text) - self.window)
        if at >= len(text) or text[-1] not in self._ends:
            return len(text)
        if self._glance is not None:
            held = self._glance.held(text, at)
            if held is not None:
                return held
            self._glance = None
        return self._thorough.held(text, at)


class PatternRules:
    """All patterns in one expression; which of them it was is asked only of what was found."""

    context = 1

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = [
            (pattern, compiled(whole(pattern.parts)), pattern.lead and compiled(pattern.lead.whole))
            for pattern in patterns
        ]
        self.window = max(longest(pattern.parts) for pattern in patterns)
        self._any = compiled(either(whole(pattern.parts) for pattern in patterns), LARGE)
        self._begun = compiled(either(begun(pattern.parts) for pattern in patterns) + rb"\z", LARGE)

    def first(self, text: bytes, at: int) -> Found | None:
        """As `Rules`."""
        if not self._any.within(text, at):
            return None
        found = self._any.search(text, at)
        assert found is not None
        begin, end = found.start(), found.end()
        for pattern, expression, lead in self._patterns:
            if expression.fullmatch(text, begin, end):
                before = lead.match(text, begin, end) if lead else None
                return Found(begin, before.end() if before else begin, end, pattern.name, pattern.tail())
        raise AssertionError("what any pattern matches, one of them does")

    def held(self, text: bytes, at: int) -> int:
        """As `Rules`."""
        if at >= len(text) or text[-1] not in WITHIN:
            return len(text)
        found = self._begun.search(text, max(at, len(text) - self.window))
        return len(text) if found is None else found.start()


@lru_cache(maxsize=8)
def pattern_rules(patterns: tuple[Pattern, ...]) -> PatternRules:
    """The rules of a table of patterns, compiled once: they hold no secret."""
    return PatternRules(patterns)
