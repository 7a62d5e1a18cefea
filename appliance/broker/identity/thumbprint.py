"""`x5t#S256`: the thumbprint by which a token is bound to a client certificate (RFC 8705 §3.1)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

LENGTH = 43
"""Characters of base64url of 32 octets without padding."""


def thumbprint(certificate: x509.Certificate) -> str:
    """base64url(SHA-256(DER)), without padding."""
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def same_thumbprint(one: str, other: str) -> bool:
    """Whether both are the same thumbprint. The time taken does not tell where they differ.

    The texts are compared, not what they decode to: padding or white space makes another one (RFC 8705 §3.1).
    A text of another length is no thumbprint, not even of itself.
    """
    equal = hmac.compare_digest(
        one.encode("utf-8", "backslashreplace"), other.encode("utf-8", "backslashreplace")
    )
    return equal and len(one) == LENGTH
