"""What a session token may look like: plain, or like a key of a provider whose client looks at the form.

The form says nothing: all that follows the prefix is random, whoever it is for. Each has more than 200 random
bits. Forms with a prefix match the scrubber's own patterns; a plain one it knows only as a live secret.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass

_LETTERS_AND_DIGITS = string.ascii_letters + string.digits
_BASE64URL = _LETTERS_AND_DIGITS + "-_"


@dataclass(frozen=True, slots=True)
class TokenShape:
    """`prefix`, then `length` characters of `alphabet`."""

    prefix: str
    length: int
    alphabet: str

    def draw(self, randbelow: Callable[[int], int]) -> str:
        """A new token; `randbelow(n)` is uniform in 0…n-1."""
        return self.prefix + "".join(self.alphabet[randbelow(len(self.alphabet))] for _ in range(self.length))

    @property
    def pattern(self) -> re.Pattern[str]:
        """What every token of this shape matches as a whole."""
        return re.compile(rf"{re.escape(self.prefix)}[{re.escape(self.alphabet)}]{{{self.length}}}")


SHAPES: dict[str, TokenShape] = {
    "plain": TokenShape("", 43, _BASE64URL),
    "sk-": TokenShape("sk-", 48, _LETTERS_AND_DIGITS),
    "sk-ant-": TokenShape("sk-ant-api03-", 95, _BASE64URL),
    "ghp_": TokenShape("ghp_", 36, _LETTERS_AND_DIGITS),
}
"""By name, as an operator writes it."""
