"""Credentials known by their looks, whoever they belong to: eleven named patterns, and an operator's own.

A pattern is a head of bounded length, by which it is known, and a tail: as soon as the head is complete a
marker stands in its place, and what follows it is swallowed for as long as it may belong to it. So a token of
any length is taken out whole, and never more than a head is held back. No head can match the empty text.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.sequences import (
    Part,
    Parts,
    at_most,
    compiled,
    literal,
    longest,
    one_of,
    run,
    whole,
)

MOST_OWN = 32
"""How many patterns an operator may add."""
WITHIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/+=-% \\")
"""Octets that leads and heads are made of: behind any other one, nothing has begun."""
_PREFIX = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.:/+-]{2,31}\Z")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_ALPHABETS = {
    "digits": b"[0-9]",
    "hex": b"[0-9A-Fa-f]",
    "upper": b"[A-Z0-9]",
    "alphanumeric": b"[A-Za-z0-9]",
    "base64": b"[A-Za-z0-9+/=]",
    "base64url": b"[A-Za-z0-9_-]",
}
_ALPHANUMERIC, _URL = _ALPHABETS["alphanumeric"], _ALPHABETS["base64url"]
_WORD = b"[A-Za-z0-9_]"

# The members of a JOSE header that IANA's registry knows (RFC 7515, 7516, 7519, 7797, 8225, 8555, 9449).
_JOSE = (
    "alg", "apu", "apv", "aud", "b64", "crit", "cty", "enc", "epk", "iat", "iss", "iv", "jku", "jti", "jwk",
    "kid", "nonce", "p2c", "p2s", "ppt", "sub", "svt", "tag", "typ", "url", "ver", "x5c", "x5t", "x5t#S256",
    "x5u", "zip",
)  # fmt: skip


class Tail(Protocol):
    """What is swallowed behind a head; it is fed in whatever pieces come."""

    def end(self, text: bytes, at: int) -> tuple[int, bool]:
        """Where swallowing stops in `text` from `at` on, and whether that is its end."""


class Run:
    """A tail of octets of one character class."""

    def __init__(self, alphabet: bytes) -> None:
        self._rest = re.compile(alphabet + b"*").match

    def end(self, text: bytes, at: int) -> tuple[int, bool]:
        """As `Tail`."""
        found = self._rest(text, at)
        stop = found.end() if found else at
        return stop, stop < len(text)


class PemRest:
    """The rest of a PEM block (RFC 7468): up to the five dashes after `-----END …`, or what no PEM can hold.

    The line breaks may be written as in JSON, and there may be headers as in RFC 1421.
    """

    _marks = re.compile(rb"-+|[^A-Za-z0-9+/=\s\\:,-]").finditer

    def __init__(self) -> None:
        self._run = 0
        self._lines = 0

    def end(self, text: bytes, at: int) -> tuple[int, bool]:
        """As `Tail`. Octets behind the end are not looked at, or many blocks would take forever."""
        behind = at
        for mark in self._marks(text, at):
            start, stop = mark.span()
            if text[start] != 0x2D:
                return start, True
            if start > behind:
                self._run = 0
            before, self._run, behind = self._run, self._run + stop - start, stop
            if before < 5 <= self._run:
                self._lines += 1
                if self._lines == 2:
                    return start + 5 - before, True
        if len(text) > behind:
            self._run = 0
        return len(text), False


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Credentials of one kind, by their looks: what comes before them, how they begin and how they go on.

    `name` stands in the marker; `lead` must come before the head and stays in the text. `alphabet` is the
    tail's character class, empty for a PEM block.

    Equal to itself alone: a call asks for its table's rules, and hashing all parts took 15 us.
    """

    name: str
    head: Parts
    alphabet: bytes
    lead: Part | None = None

    @property
    def parts(self) -> Parts:
        """Lead and head."""
        return (self.lead, *self.head) if self.lead else self.head

    def tail(self) -> Tail:
        """A new one for each match."""
        return Run(self.alphabet) if self.alphabet else PemRest()


def _jose(member: str) -> Parts:
    """How a header begins whose first member this is: the whole characters of `{"member":` in base64url."""
    opening = f'{{"{member}":'.encode()
    return literal(urlsafe_b64encode(opening)[: len(opening) * 4 // 3])


def _prefixes(*prefixes: bytes) -> Part:
    return one_of(*map(literal, prefixes))


# Not within a word: `task-…` and `disk-…` are none. An escape before it is no part of a word: `"\nsk-…"`.
_NO_WORD = Part(
    rb"(?:\b|_|\\[bfnrt]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})",
    rb"(?:\\(?:u[0-9A-Fa-f]{0,4})?|\\[bfnrt]|%[0-9A-Fa-f]{0,2}|_)?",
    6,
)

BUILT_IN = (
    # RFC 7515 section 7.1: a header by one of its registered members. Of one that begins with another member,
    # the payload and the signature are taken out: what authorises is the signature.
    Pattern(
        "jwt",
        (
            one_of(
                (one_of(*map(_jose, _JOSE)), run(_URL, 8)),
                (*literal(b".eyJ"), run(_URL, 8)),
            ),
        ),
        b"[A-Za-z0-9_.-]",
    ),
    Pattern("github-token", (_prefixes(b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), run(_WORD, 20)), _WORD),
    Pattern("google-access-token", (*literal(b"ya29."), run(b"[A-Za-z0-9_.-]", 20)), b"[A-Za-z0-9_.-]"),
    Pattern(
        "slack-token",
        (_prefixes(b"xoxb-", b"xoxp-", b"xoxa-", b"xoxr-", b"xoxs-", b"xoxe-", b"xoxe."), run(_URL, 10)),
        b"[A-Za-z0-9_.-]",
    ),
    Pattern("handle", (*literal(b"hb_cred_"), run(_URL, 16)), _URL),
    Pattern(
        "aws-access-key-id", (_prefixes(b"AKIA", b"ASIA"), run(_ALPHABETS["upper"], 16)), _ALPHABETS["upper"]
    ),
    Pattern("stripe-live-key", (_prefixes(b"sk_live_", b"rk_live_"), run(_ALPHANUMERIC, 16)), _WORD),
    Pattern("google-api-key", (*literal(b"AIza"), run(_URL, 35)), _URL),
    Pattern(
        "llm-key",
        (
            *literal(b"sk-"),
            one_of(
                (run(_ALPHANUMERIC, 20),),
                (_prefixes(b"proj-", b"svcacct-", b"admin-", b"None-"), run(_URL, 40)),
                (
                    _prefixes(b"ant-api", b"ant-admin", b"ant-sid", b"ant-oat"),
                    run(b"[0-9]", 2),
                    run(_URL, 20),
                ),
                (_prefixes(b"or-v1-", b"lf-"), run(_URL, 20)),
            ),
        ),
        _URL,
        _NO_WORD,
    ),
    Pattern("github-fine-grained-token", (*literal(b"github_pat_"), run(_WORD, 22)), _WORD),
    Pattern(
        "private-key",
        (
            *literal(b"-----BEGIN "),
            at_most(b"[A-Z0-9 ]", 24),
            *literal(b"PRIVATE KEY"),
            one_of(literal(b"-----"), literal(b" BLOCK-----")),
        ),
        b"",
    ),
)
"""The eleven, in the order in which the marker's name is chosen."""


def own_pattern(name: str, prefix: str, alphabet: str, at_least: int) -> Pattern:
    """An operator's: a fixed prefix of 3 to 32 octets, then at least 8 to 128 octets of a named alphabet.

    Raises `ScrubFault` (`scrub-pattern-invalid`).
    """
    if not _NAME.match(name):
        raise _invalid("its name is not 1 to 32 of a-z, 0-9 and -, a letter first")
    if not prefix.isascii() or not _PREFIX.match(prefix.encode()):
        raise _invalid(f"the prefix of {name} is not 3 to 32 of letters, digits and _.:/+-")
    if alphabet not in _ALPHABETS:
        raise _invalid(f"the alphabet of {name} is none of {', '.join(_ALPHABETS)}")
    if not 8 <= at_least <= 128:
        raise _invalid(f"{name} asks for fewer than 8 or more than 128 octets after its prefix")
    pattern = Pattern(
        name, (*literal(prefix.encode()), run(_ALPHABETS[alphabet], at_least)), _ALPHABETS[alphabet]
    )
    if compiled(whole(pattern.parts)).match(b"") or longest(pattern.parts) > 160:
        raise _invalid(f"{name} matches nothing at all, or too much")
    return pattern


def with_own(own: Iterable[Pattern]) -> tuple[Pattern, ...]:
    """The eleven and an operator's. Raises `ScrubFault` (`scrub-pattern-invalid`)."""
    patterns = (*BUILT_IN, *own)
    if len(patterns) > len(BUILT_IN) + MOST_OWN:
        raise _invalid(f"more than {MOST_OWN} patterns")
    if len({pattern.name for pattern in patterns}) < len(patterns):
        raise _invalid("two patterns of one name")
    return patterns


def _invalid(detail: str) -> ScrubFault:
    return ScrubFault("scrub-pattern-invalid", detail)
