"""The JWS compact form of a proof (RFC 7515 section 7.1), read so that two readers cannot differ.

Stricter than the RFC where leniency would give one proof several spellings: base64url without stray bits,
each JSON member once at every depth (RFC 7519 section 4 would let the last one win), no lone surrogates, no
numbers that are none.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any

from appliance.broker.denied import invalid_proof

MAX_PROOF = 8 * 1024
"""Characters. One with a 4096-bit RSA key and signature has about 2000."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")


@dataclass(frozen=True, slots=True)
class Compact:
    """What a proof says; nothing of it is verified. `signed` is the JWS signing input."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read_compact(text: str) -> Compact:
    """Take a proof apart. Raises `Denied`."""
    if len(text) > MAX_PROOF:
        raise invalid_proof("proof_too_large", f"the proof has more than {MAX_PROOF} characters")
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise invalid_proof("proof_malformed", "the proof is not three base64url parts with dots between")
    header, claims, signature = parts.groups()
    return Compact(
        _read_object(header, "header"),
        _read_object(claims, "payload"),
        f"{header}.{claims}".encode("ascii"),
        _octets(signature, "signature"),
    )


def decode_base64url(text: str) -> bytes:
    """Octets of unpadded base64url (RFC 7515 section 2). Raises `ValueError` for any second spelling."""
    # The codec skips what is not of its alphabet; the comparison brings it to light.
    octets = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if encode_base64url(octets) != text:
        raise ValueError("not the one spelling of these octets")
    return octets


def encode_base64url(octets: bytes) -> str:
    """Unpadded base64url."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _octets(text: str, part: str) -> bytes:
    try:
        return decode_base64url(text)
    except ValueError:
        raise invalid_proof("proof_malformed", f"the proof's {part} is no base64url") from None


def _read_object(text: str, part: str) -> dict[str, Any]:
    octets = _octets(text, part)
    try:
        value = json.loads(
            octets.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid_proof(
            "proof_malformed", f"the proof's {part} is no JSON text that has each member once"
        ) from None
    if not isinstance(value, dict):
        raise invalid_proof("proof_malformed", f"the proof's {part} is no JSON object")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number without end")
    return value
