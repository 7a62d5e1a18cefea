"""Sequences of parts, each given as a regular expression of RE2 together with its beginnings.

From one description come two expressions: one finds the sequence, the other finds what could become it at the
end of what has arrived so far. RE2 looks at each octet a bounded number of times, whatever the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import re2

_ANYWHERE: Any = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001 - search without its objects, for small texts


class Match(Protocol):
    """Where an expression was found."""

    def start(self) -> int:
        """The first octet's place."""

    def end(self) -> int:
        """The place after the last octet."""


class Expression:
    """A compiled expression; leftmost and then longest match."""

    def __init__(self, compiled: Any) -> None:
        """`compiled`: as RE2's own module has it."""
        self._compiled = compiled
        self._spans = compiled._regexp.Match  # noqa: SLF001

    def within(self, text: bytes, at: int) -> bool:
        """Whether there is a match from `at` on. A third of the time that `search` takes."""
        return bool(self._spans(_ANYWHERE, text, at, len(text))[0][0] >= 0)

    def search(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Match | None:
        """The first match from `pos` on."""
        return cast("Match | None", self._compiled.search(text, pos, endpos))

    def match(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Match | None:
        """The match that begins at `pos`."""
        return cast("Match | None", self._compiled.match(text, pos, endpos))

    def fullmatch(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Match | None:
        """The match of everything between."""
        return cast("Match | None", self._compiled.fullmatch(text, pos, endpos))


@dataclass(frozen=True, slots=True)
class Part:
    """`whole` matches the part, `begun` every proper beginning, also the empty one; `longest` in octets."""

    whole: bytes
    begun: bytes
    longest: int


Parts = tuple[Part, ...]


def literal(octets: bytes) -> Parts:
    """These octets and no others."""
    return tuple(Part(quoted(bytes((octet,))), b"", 1) for octet in octets)


def run(alphabet: bytes, count: int) -> Part:
    """`count` octets of a character class such as `[a-z]`."""
    return Part(b"%b{%d}" % (alphabet, count), b"%b{0,%d}" % (alphabet, count - 1), count)


def at_most(alphabet: bytes, count: int) -> Part:
    """Up to `count` octets of a character class."""
    whole = b"%b{0,%d}" % (alphabet, count)
    return Part(whole, whole, count)


def one_of(*choices: Parts) -> Part:
    """Any of these sequences."""
    return Part(either(map(whole, choices)), either(map(begun, choices)), max(map(longest, choices)))


def whole(parts: Sequence[Part]) -> bytes:
    """The expression of all parts, one after the other."""
    return b"".join([part.whole for part in parts])


def begun(parts: Sequence[Part], after: bytes | None = None) -> bytes:
    """The expression of all proper beginnings, also the empty one.

    With `after` also of the whole, followed by that.
    """
    text = after
    for part in reversed(parts):
        text = part.begun if text is None else either((part.begun, part.whole + text))
    return text or b""


def longest(parts: Sequence[Part]) -> int:
    """Octets of the longest text that the parts can match."""
    return sum(part.longest for part in parts)


def either(choices: Iterable[bytes]) -> bytes:
    """Alternation, each choice once."""
    return b"(?:%b)" % b"|".join(dict.fromkeys(choices))


def quoted(octets: bytes) -> bytes:
    """An expression for these octets: each by its number, so that none can mean anything."""
    return b"".join(b"\\x%02x" % octet for octet in octets)


def compiled(text: bytes, memory: int = 8 << 20) -> Expression:
    """Compile for octets. Raises `ValueError`.

    Through a filter: `re2.compile` would keep the expression, and so a secret, in its cache. RE2 does not
    print it either when it is wrong.
    """
    only: Any = re2.Filter()
    try:
        only.Add(text, _options(memory))
    except re2.error:
        raise ValueError("not an expression that RE2 can compile") from None
    return Expression(only.re(0))


def which_of(texts: Iterable[bytes]) -> Callable[[bytes], list[int]]:
    """Tells which of several expressions match where octets begin, by number. Raises `ValueError`."""
    several: Any = re2.Set.MatchSet(_options(16 << 20))
    try:
        for text in texts:
            several.Add(text)
        several.Compile()
    except re2.error:
        raise ValueError("not expressions that RE2 can compile") from None
    return lambda octets: several.Match(octets) or []


@lru_cache(maxsize=8)
def _options(memory: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = memory
    return options
