"""What is looked for in octets, and what at their end could become it: live secrets, and patterns.

Both answer the same two questions. `first`: the leftmost match from a place on, of several the longest.
`held`: the leftmost place from which all that is there could be the beginning of a match.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

from appliance.broker.scrub.forms import ESCAPE_BEGUN
from appliance.broker.scrub.patterns import Pattern, Tail
from appliance.broker.scrub.sequences import Expression, Parts, begun, compiled, either, longest, whole

HEAD = 6
"""Parts of a piece that every octet of a stream is compared with; the rest only where these are."""
_LARGE = 16 << 20  # octets of automaton that a hostile text may make RE2 keep
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
    window: int

    def first(self, text: bytes, at: int) -> Found | None:
        """The first match from `at` on."""

    def held(self, text: bytes, at: int) -> int:
        """From where on `text` is to be held back, its length for nothing."""


class LiveRules:
    """The pieces of all forms of the live secrets of one call. Nothing of them outlives this object.

    Small expressions of the pieces' heads look at everything; the exact ones are made when a head is met.
    """

    context = 0

    def __init__(self, pieces: Sequence[Parts]) -> None:
        self._pieces = pieces
        self.window = max(map(longest, pieces)) - 1
        heads = [piece[:HEAD] for piece in pieces]
        self._heads = compiled(either(map(whole, heads)))
        begun_heads = (
            begun(head, None if len(piece) <= HEAD else b"(?s:.*)")
            for head, piece in zip(heads, pieces, strict=True)
        )
        self._begun = compiled(either(begun_heads) + ESCAPE_BEGUN + rb"\z")

    @cached_property
    def _exact(self) -> Expression:
        return compiled(either(map(whole, self._pieces)), _LARGE)

    @cached_property
    def _exactly_begun(self) -> Expression:
        return compiled(either(map(begun, self._pieces)) + ESCAPE_BEGUN + rb"\z", _LARGE)

    def first(self, text: bytes, at: int) -> Found | None:
        """As `Rules`."""
        head = self._heads.search(text, at)
        if head is None:
            return None
        found = self._exact.search(text, head.start())
        return None if found is None else Found(found.start(), found.start(), found.end(), SECRET, None)

    def held(self, text: bytes, at: int) -> int:
        """As `Rules`. What looks like an escape that has begun is held wherever a secret may go on."""
        at = max(at, len(text) - self.window)
        found = self._begun.search(text, at)
        if found and self._heads.search(text, found.start()):
            found = self._exactly_begun.search(text, at)
        return len(text) if found is None else found.start()


class PatternRules:
    """All patterns in one expression; which of them it was is asked only of what was found."""

    context = 1

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = [
            (pattern, compiled(whole(pattern.parts)), pattern.lead and compiled(pattern.lead.whole))
            for pattern in patterns
        ]
        self.window = max(longest(pattern.parts) for pattern in patterns)
        self._any = compiled(either(whole(pattern.parts) for pattern in patterns), _LARGE)
        self._begun = compiled(either(begun(pattern.parts) for pattern in patterns) + rb"\z", _LARGE)

    def first(self, text: bytes, at: int) -> Found | None:
        """As `Rules`."""
        found = self._any.search(text, at)
        if found is None:
            return None
        begin, end = found.start(), found.end()
        for pattern, expression, lead in self._patterns:
            if expression.fullmatch(text, begin, end):
                before = lead.match(text, begin, end) if lead else None
                return Found(begin, before.end() if before else begin, end, pattern.name, pattern.tail())
        raise AssertionError("what any pattern matches, one of them does")

    def held(self, text: bytes, at: int) -> int:
        """As `Rules`."""
        found = self._begun.search(text, max(at, len(text) - self.window))
        return len(text) if found is None else found.start()


@lru_cache(maxsize=8)
def pattern_rules(patterns: tuple[Pattern, ...]) -> PatternRules:
    """The rules of a table of patterns, compiled once: they hold no secret."""
    return PatternRules(patterns)
