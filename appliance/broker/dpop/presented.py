"""Which token and proofs a request presents: RFC 9110 section 11, RFC 9449 sections 4.3 and 7."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from appliance.broker.denied import Denied, invalid_proof

Scheme = Literal["Bearer", "DPoP"]

MAX_TOKEN = 1024
"""Characters."""

# RFC 9110 section 11.4: scheme, one or more spaces, token68; schemes are read without regard to case.
_CREDENTIALS = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: +([A-Za-z0-9._~+/-]+=*))?")
_SCHEMES: dict[bytes, Scheme] = {b"bearer": "Bearer", b"dpop": "DPoP"}


@dataclass(frozen=True, slots=True)
class Presented:
    """A token with the scheme under which it came, and the values of all `DPoP` fields beside it."""

    scheme: Scheme
    token: str = field(repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)


def read_presented(fields: Iterable[tuple[bytes, bytes]]) -> Presented:
    """What the Authorization and DPoP fields present. Raises `Denied`."""
    fields = [(name.lower(), value) for name, value in fields]
    credentials = [value for name, value in fields if name == b"authorization"]
    # RFC 9449 section 7.1: the DPoP scheme is never for a proxy.
    if any(name == b"proxy-authorization" and _scheme(value) == b"dpop" for name, value in fields):
        raise Denied(400, "invalid_request", "dpop_for_proxy", "DPoP is not used in Proxy-Authorization")
    if not credentials:
        raise Denied(401, "", "authorization_missing", "the request has no Authorization field")
    if len(credentials) > 1:  # RFC 9449 section 7.2
        raise Denied(
            400, "invalid_request", "authorization_repeated", "Multiple methods used to include access token"
        )
    found = _CREDENTIALS.fullmatch(credentials[0])
    if found is None or len(credentials[0]) > MAX_TOKEN:
        raise Denied(400, "invalid_request", "authorization_malformed", "Authorization has no one token")
    scheme = _SCHEMES.get(found[1].lower())
    if scheme is None:
        raise Denied(401, "", "authorization_scheme", "the scheme is neither Bearer nor DPoP")
    if found[2] is None:
        raise Denied(400, "invalid_request", "authorization_malformed", "Authorization has no token")
    return Presented(scheme, found[2].decode("ascii"), read_proofs(fields))


def read_proofs(fields: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """The values of all DPoP fields; what is not ASCII stays refused later on, as no proof."""
    return tuple(value.decode("latin-1") for name, value in fields if name.lower() == b"dpop")


def one_proof(proofs: tuple[str, ...]) -> str:
    """RFC 9449 section 4.3, check 1: not more than one DPoP field; and not less. Raises `Denied`."""
    if not proofs:
        raise invalid_proof("proof_missing", "the request needs a DPoP field")
    if len(proofs) > 1:
        raise invalid_proof("proof_repeated", "the request has more than one DPoP field")
    return proofs[0]


def _scheme(value: bytes) -> bytes:
    return value.strip().split(b" ", 1)[0].lower()
