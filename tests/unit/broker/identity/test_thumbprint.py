"""appliance.broker.identity.thumbprint: RFC 8705's own vector, and a comparison that takes one text alone."""

from __future__ import annotations

import hmac
from base64 import b64decode
from datetime import timedelta

import pytest
from cryptography import x509

from appliance.broker.identity.thumbprint import same_thumbprint, thumbprint

from .peers import Forge

# RFC 8705 appendix A: a certificate (x5c of figure 6) and its confirmation (x5t#S256 of figure 5).
CERTIFICATE = (
    "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVow"
    "DzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ"
    "/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+"
    "hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY="
)
CONFIRMATION = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"


def test_rfc8705_5_000_09_the_thumbprint_is_rfc_8705s() -> None:
    assert thumbprint(x509.load_der_x509_certificate(b64decode(CERTIFICATE))) == CONFIRMATION


def test_000_09_another_certificate_of_the_same_key_has_another_thumbprint() -> None:
    forge = Forge()
    one, other = forge.leaf("spiffe://lab/x"), forge.leaf("spiffe://lab/x", end=timedelta(hours=2))
    assert not same_thumbprint(thumbprint(one), thumbprint(other))


@pytest.mark.parametrize(
    "other",
    ["", CONFIRMATION + "=", CONFIRMATION + "\n", " " + CONFIRMATION, CONFIRMATION[:-1], CONFIRMATION.lower(),
     "\udc80" * 43],
)  # fmt: skip
def test_000_09_another_text_is_another_thumbprint(other: str) -> None:
    assert same_thumbprint(CONFIRMATION, CONFIRMATION)
    assert not same_thumbprint(CONFIRMATION, other)
    assert not same_thumbprint(other, CONFIRMATION)


def test_000_09_two_absent_thumbprints_are_not_the_same() -> None:
    assert not same_thumbprint("", "")


def test_rfc8705_9_000_09_the_comparison_takes_the_same_time_wherever_they_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[bytes, bytes]] = []
    genuine = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: asked.append(pair) or genuine(*pair))
    assert not same_thumbprint(CONFIRMATION, "B" + CONFIRMATION[1:])
    assert len(asked) == 1
