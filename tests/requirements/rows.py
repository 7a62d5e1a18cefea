"""The behaviours that the product must have, by id; which of them are due now, and which later.

A test proves a row by its name: `test_000_37_…` proves 000-37, several ids may stand in one name. What each row
wants is in the project's list of requirements; here are only their numbers and a word to know them by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ID = re.compile(r"(?<![0-9])(00[0-4])_([0-9]{2})(?![0-9])")
_RFC = re.compile(r"(?<![a-z0-9])(rfc(?:8705|9449))_([0-9]{1,2}|[a-j])(?![a-z0-9])")

TITLES = {
    "000-01": "secrets at the broker alone", "000-02": "opaque tokens", "000-03": "only calls reach the broker",
    "000-04": "each call decided and on record", "000-05": "residual risk is stated", "000-06": "an address is no identity",
    "000-07": "addresses count only behind mTLS", "000-08": "mTLS on every endpoint", "000-09": "session bound to its certificate",
    "000-10": "binding is the thumbprint", "000-11": "DPoP where it was asked for", "000-12": "the proof's key",
    "000-13": "the proof's token", "000-14": "the proof's scheme", "000-15": "no userinfo in a proof",
    "000-16": "shared replay store", "000-17": "scope of a replay", "000-18": "DPoP fails closed",
    "000-19": "each check counts", "000-26": "never a general proxy", "000-28": "tokens are worthless upstream", "000-29": "no way to a plaintext",
    "000-30": "a model decides nothing", "000-31": "decisions by rules, repeatable", "000-32": "a model only annotates",
    "000-33": "workloads have certificates", "000-34": "sessions are short", "000-35": "workloads get broker tokens only",
    "000-36": "tokens in a provider's shape", "000-37": "encrypted at rest", "000-38": "decrypted only in a call",
    "000-39": "one surface for calls", "000-40": "what a call is made of", "000-44": "the broker injects", "000-62": "no broker token upstream",
    "000-63": "one id through all records", "000-73": "external CA: bounded time", "000-74": "external CA: cancelled",
    "000-75": "external CA: fails closed", "000-76": "external CA: malformed", "000-77": "external CA: stable codes",
    "000-78": "external CA: no private key", "000-79": "external CA: bounded size",
    "001-08": "references by name", "001-13": "denied before read", "001-14": "denied without decryption",
    "002-07": "callers prove themselves", "002-08": "four modes of proof", "002-09": "a secret is its integration's",
    "002-10": "a provider's refusal is shown", "002-11": "scope is not the body's to say",
    "002-22": "keys hashed and rotating", "002-23": "trusted headers from one peer",
    "004-01": "no credential in sight", "004-02": "a mistake lets nothing through", "004-03": "form of a handle",
    "004-04": "a handle says nothing", "004-05": "handles in one memory", "004-06": "handles do not last",
    "004-07": "a handle is registered", "004-08": "secrets live for seconds", "004-09": "checked, then injected",
    "004-10": "the platform chooses the slot", "004-11": "revoked on completion", "004-12": "revoked on failure",
    "004-13": "revoked after 300 s", "004-14": "dead for good", "004-15": "static definitions",
    "004-16": "collision", "004-17": "collision kills", "004-18": "hosts of an integration",
    "004-21": "changes at the bound host alone", "004-31": "five checks in order", "004-32": "binding",
    "004-33": "endpoint and method", "004-36": "eleven patterns", "004-37": "scrubbed results",
    "004-38": "scrubbed errors", "004-39": "scrubbed streams", "004-40": "scrubbed records", "004-41": "the last gate",
}  # fmt: skip
"""The rows that are due."""

RFC_8705 = tuple(f"rfc8705-{number}" for number in range(1, 10))
RFC_9449 = tuple(f"rfc9449-{item}" for item in (*range(1, 13), *"abcdefghij"))


def _span(source: str, *spans: tuple[int, int]) -> Iterable[str]:
    return (f"{source}-{number:02}" for first, last in spans for number in range(first, last + 1))


ALL = frozenset(
    [
        *_span("000", (1, 82)),
        *_span("001", (1, 22)),
        *_span("002", (1, 33)),
        *_span("003", (1, 34)),
        *_span("004", (1, 48)),
        *RFC_8705,
        *RFC_9449,
    ]
)
DUE = (*sorted(TITLES), *RFC_8705, *RFC_9449)
LATER = tuple(sorted(ALL - set(DUE)))


def rows_of(test: str) -> frozenset[str]:
    """The rows that a test proves, by the name of its function. Raises `ValueError` for one that is no row."""
    function = test.partition("[")[0].rsplit("::", 1)[-1].lower()
    found = {f"{source}-{number}" for source, number in _ID.findall(function)}
    found |= {f"{rfc}-{item}" for rfc, item in _RFC.findall(function)}
    if unknown := found - ALL:
        raise ValueError(f"{test} names {', '.join(sorted(unknown))}, which is no row")
    return frozenset(found)
