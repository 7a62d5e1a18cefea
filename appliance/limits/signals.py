"""What looks like data on its way out in the target of a permitted request: told, and never a reason to deny.

A secret in a URL is short of the caps and within the rules (attack F1); all that can be seen is that a part
of the target holds more information than words and numbers do. A part is what stands between separators; its
information is estimated as Shannon's entropy of its characters times its length.

A SHA-256 in hexadecimal (64 digits, at most 256 bits) is not remarkable, 40 random bytes in Base64 are.
"""

from __future__ import annotations

import re
from collections import Counter
from math import log2

HIGH_ENTROPY = "high-entropy-target"
THRESHOLD_BITS = 256.0
_LEAST_PER_CHARACTER = 3.3  # hexadecimal has up to 4; a repeated pattern, however long, has less
_SHORTEST = 48  # below it 256 bits would need more than 5.3 for each character
_PART = re.compile(rf"[A-Za-z0-9_=~-]{{{_SHORTEST},}}")


def signals(path: str, query: str | None) -> tuple[str, ...]:
    """Stable words for what is remarkable about a canonical target."""
    if len(path) < _SHORTEST and len(query or "") < _SHORTEST:
        return ()
    parts = (*_PART.findall(path), *_PART.findall(query or ""))
    return (HIGH_ENTROPY,) if any(map(_is_remarkable, parts)) else ()


def _is_remarkable(part: str) -> bool:
    per_character = entropy(part)
    return per_character >= _LEAST_PER_CHARACTER and per_character * len(part) > THRESHOLD_BITS


def entropy(text: str) -> float:
    """Bits for each character, by the frequencies within `text` itself."""
    length = len(text)
    return -sum(count / length * log2(count / length) for count in Counter(text).values())
