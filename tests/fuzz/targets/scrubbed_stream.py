"""Octets in any pieces through the scrubber, against one that looks at every place for every form (004-39).

The plain one knows no heads, holds nothing back and keeps no state: what both give must be the same.
"""

from __future__ import annotations

import re
from functools import lru_cache

from appliance.broker.scrub.forms import pieces
from appliance.broker.scrub.patterns import BUILT_IN, Pattern
from appliance.broker.scrub.rules import LiveRules
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.scrub.sequences import compiled, whole
from appliance.broker.scrub.thorough import OneByOne

SECRETS = (b'a1+/"b2=c3', b"aaaaaaaaab", bytes(range(240, 249)), "pässwörd".encode(), b"ab\\u0061bab\\")
_PEM = re.compile(
    rb"(?:(?!-{5})[A-Za-z0-9+/=\s\\:,-])*(?:-{5,}(?:(?!-{5})[A-Za-z0-9+/=\s\\:,-])*(?:-{5})?)?"
).match
SEEDS = (
    b"\x00" + SECRETS[0] + b" " + SECRETS[1],
    b'\x01{"a":"a1+\\/\\"b2=c3"} a1%2B%2f%22b2%3Dc3 a1&#43;&#x2F;&quot;b2&equals;c3',
    b"\x02YTErLyJiMj1jM w== ExKy8iYjI9YzM MSsvImIyPWMz 61312b2f2262323D6333",
    b"\x03aaaaaaaaaaaaaaaaaaaab aaaaaaaa",
    b"\x04p\\u00e4ssw\\u00F6rd p%C3%a4ssw\xc3\xb6rd p\xc3",
    b"\x06task-0123456789abcdef0123456789 sk-0123456789abcdef0123456789 \\nsk-0123456789abcdef0123456789",
    b"\x05eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl ya29.a0123456789012345678901 .eyJ01234567",
    b"\x09-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----\\n-----BEGIN PRIVATE KEY",
    b"\x0aAKIAIOSFODNN7EXAMPLEghp_0123456789012345678901234567890123456789xoxb-0123456789-a",
)
TOKENS = (
    *SECRETS,
    b"sk-",
    b"eyJhbGciOi",
    b".eyJ",
    b"ghp_",
    b"AKIA",
    b"-----BEGIN ",
    b"PRIVATE KEY-----",
    b"-----END ",
    b"\\u00",
    b"\\\\",
    b"%25",
    b"&#x",
    b"aaaaaaaa",
    b"0123456789",
)


@lru_cache(maxsize=16)
def _exact(secrets: tuple[bytes, ...]) -> list[object]:
    return [compiled(whole(piece.parts())) for piece in pieces(secrets)]


@lru_cache(maxsize=16)
def _known(patterns: tuple[Pattern, ...]) -> list[tuple[Pattern, object, object]]:
    return [(each, compiled(whole(each.parts)), each.lead and compiled(each.lead.whole)) for each in patterns]


def naive(data: bytes, secrets: tuple[bytes, ...], patterns: tuple[Pattern, ...] = BUILT_IN) -> bytes:
    """The same by brute force: at every place every expression by itself, the longest wins."""

    def live(text: bytes, at: int) -> tuple[int, int, int, str] | None:
        ends = [found.end() for each in _exact(secrets) if (found := each.match(text, at))]
        return (at, max(ends), max(ends), "secret") if ends else None

    def known(text: bytes, at: int) -> tuple[int, int, int, str] | None:
        best = None
        for pattern, expression, lead in _known(patterns):
            if (found := expression.match(text, at)) and (best is None or found.end() > best[1]):
                start = lead.match(text, at, found.end()).end() if lead else at
                rest = re.compile(pattern.alphabet + b"*").match if pattern.alphabet else _PEM
                best = start, found.end(), rest(text, found.end()).end(), pattern.name
        return best

    for look in (live, known):
        out, at, marked = b"", 0, ""
        while at < len(data):
            found = look(data, at)
            if found is None:
                out, at, marked = out + data[at : at + 1], at + 1, ""
                continue
            start, _, end, name = found
            if start > at or name != marked:
                out += data[at:start] + b"[scrubbed:" + name.encode() + b"]"
            at, marked = end, name
        data = out
    return data


def one(data: bytes) -> None:
    """The first octet says in what pieces the rest arrives, and which secrets are live."""
    if not data:
        return
    size, count, text = data[0] // 8 + 1, data[0] % 6, data[1:]
    secrets = SECRETS[:count]
    scrubber = Scrubber(secrets)
    live = scrubber._rules[0]
    if data[0] & 128 and isinstance(live, LiveRules):  # as if they were long
        thorough = live._thorough
        thorough._exact = OneByOne(thorough._pieces, thorough._heads)
    stream, out = scrubber.stream(), b""
    for at in range(0, len(text), size):
        out += stream.feed(text[at : at + size])
        kept = sum(len(sieve._kept) - sieve._seen for sieve in stream._sieves)
        assert kept <= scrubber.longest_held
    out += stream.end()
    assert out == scrubber.octets(text), "cut otherwise, something else comes out"
    assert out == naive(text, secrets), "the plain scrubber sees it otherwise"
    assert not any(secret in out for secret in secrets)
