"""Callers that are no containers: who they are, what they may, and the codes by which they are refused.

A `Caller` is made by the three ways of authentication (`api_keys`, `jwt_callers`, `trusted_headers`) and by
nothing else. What a request's body says of an actor or of scopes is the caller's text, and means nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

MAX_SCOPES = 64
_ACTOR = re.compile(r"[\x21-\x7e]{1,255}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")


class CallerMode(StrEnum):
    """How a caller has proved itself."""

    API_KEY = "api-key"
    JWT = "jwt"
    TRUSTED_HEADER = "trusted-header"


class CallerFault(StrEnum):
    """Stable codes."""

    UNAUTHENTICATED = "unauthenticated"
    AMBIGUOUS = "credentials_ambiguous"
    SCHEME = "authorization_scheme"
    KEY_INVALID = "api_key_invalid"
    KEY_REVOKED = "api_key_revoked"
    KEY_EXPIRED = "api_key_expired"
    JWT_MALFORMED = "jwt_malformed"
    JWT_ALGORITHM = "jwt_algorithm"
    JWT_KEY_UNKNOWN = "jwt_key_unknown"
    JWT_SIGNATURE = "jwt_signature"
    JWT_EXPIRED = "jwt_expired"
    JWT_NOT_YET_VALID = "jwt_not_yet_valid"
    JWT_ISSUER = "jwt_issuer"
    JWT_AUDIENCE = "jwt_audience"
    JWT_CLAIMS = "jwt_claims"
    JWT_KEYS_UNAVAILABLE = "jwt_keys_unavailable"
    HEADERS_MALFORMED = "trusted_headers_malformed"


SENTENCES = {
    CallerFault.UNAUTHENTICATED: "the call has no credentials",
    CallerFault.AMBIGUOUS: "the call has more than one set of credentials; send one",
    CallerFault.SCHEME: "the Authorization field is not of the scheme Bearer with one token",
    CallerFault.KEY_INVALID: "the API key is none that we gave out",
    CallerFault.KEY_REVOKED: "the API key has been revoked",
    CallerFault.KEY_EXPIRED: "the API key has expired",
    CallerFault.JWT_MALFORMED: "the token is no JWT of the form that is accepted",
    CallerFault.JWT_ALGORITHM: "the JWT's algorithm is not accepted",
    CallerFault.JWT_KEY_UNKNOWN: "the JWT names a key that its issuer does not publish",
    CallerFault.JWT_SIGNATURE: "the JWT's signature is not its issuer's",
    CallerFault.JWT_EXPIRED: "the JWT has expired",
    CallerFault.JWT_NOT_YET_VALID: "the JWT is not valid yet",
    CallerFault.JWT_ISSUER: "the JWT is of another issuer",
    CallerFault.JWT_AUDIENCE: "the JWT is for another audience",
    CallerFault.JWT_CLAIMS: "a claim of the JWT is missing or has the wrong form",
    CallerFault.JWT_KEYS_UNAVAILABLE: "the issuer's keys cannot be had at the moment",
    CallerFault.HEADERS_MALFORMED: "the trusted peer's fields for actor and scopes cannot be read",
}


@dataclass(frozen=True, slots=True)
class CallerRefusal:
    """Nobody: the code."""

    fault: CallerFault

    @property
    def detail(self) -> str:
        """One sentence that is safe to show to anybody."""
        return SENTENCES[self.fault]

    @property
    def status(self) -> int:
        """Of the answer."""
        return _STATUS.get(self.fault, 401)

    @property
    def challenge(self) -> str | None:
        """The WWW-Authenticate field of a 401 (RFC 6750 §3): no error code where nothing was sent."""
        if self.status != 401:
            return None
        return "Bearer" if self.fault is CallerFault.UNAUTHENTICATED else 'Bearer error="invalid_token"'


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. Raises `ValueError` for an actor or scope that is none.

    The same `actor` of two modes is not the same person: `principal` tells them apart. `key` is the id of
    the API key that proved it, `until` the end of the proof in seconds since 1970; who it is they do not say.
    """

    mode: CallerMode
    actor: str
    tenant: str
    scopes: frozenset[str]
    key: str | None = field(default=None, compare=False)
    until: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_actor(self.actor)
        check_scopes(self.scopes)

    @property
    def principal(self) -> str:
        """For records and for rules."""
        return f"{self.mode}:{self.actor}"


def check_actor(actor: str) -> None:
    """Raises `ValueError` unless it is 1 to 255 visible ASCII characters."""
    if not _ACTOR.fullmatch(actor):
        raise ValueError("an actor is 1 to 255 visible ASCII characters")


def check_scopes(scopes: frozenset[str]) -> None:
    """Raises `ValueError` unless each is a scope-token of RFC 6749 §3.3, and they are not too many."""
    if len(scopes) > MAX_SCOPES or not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError(f"scopes are at most {MAX_SCOPES} scope-tokens (RFC 6749 section 3.3)")


def parse_scopes(text: str) -> frozenset[str]:
    """Scope-tokens with one space between them; none is no scope. Raises `ValueError`."""
    scopes = frozenset(text.split(" ")) if text else frozenset()
    check_scopes(scopes)
    return scopes


_STATUS = {CallerFault.AMBIGUOUS: 400, CallerFault.JWT_KEYS_UNAVAILABLE: 503}
