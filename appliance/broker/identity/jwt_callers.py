"""Callers that bring a JWT of a configured issuer: RFC 7519, read as strictly as RFC 8725 advises.

What decides is the configuration: which issuer, which audience, which algorithms, which tenant, and where
the keys are. Of the token's header only `alg` and `kid` are used, to choose among what is allowed anyway; a
header that brings a key along, or points to one, is refused.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from joserfc import jws
from joserfc.errors import JoseError

from appliance.broker.identity.actors import Caller, CallerFault, CallerMode, CallerRefusal, parse_scopes
from appliance.broker.identity.jwks import KeysUnavailable
from appliance.broker.identity.jwt_keys import ASYMMETRIC, VerificationKey
from appliance.broker.identity.strict_json import parse_object
from appliance.workload import TENANT_NAME

MAX_TOKEN = 8 * 1024
LEEWAY = 30
"""Seconds by which an issuer's clock may differ from ours."""

_FAR = 2**53
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """Whose tokens are accepted, and for what. Raises `ValueError` for what could accept too much."""

    issuer: str
    audience: str
    tenant: str
    algorithms: frozenset[str] = ASYMMETRIC

    def __post_init__(self) -> None:
        if not self.issuer or not self.audience:
            raise ValueError("a JWT's issuer and audience are both configured")
        if not TENANT_NAME.fullmatch(self.tenant):
            raise ValueError("a JWT issuer speaks for one tenant, by its name")
        if not self.algorithms or "none" in self.algorithms:
            raise ValueError("a JWT issuer signs with at least one algorithm, and none is no algorithm")


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    async def key(self, identity: str | None) -> VerificationKey | None:
        """The key with this id. Raises `KeysUnavailable`."""


@dataclass(frozen=True, slots=True)
class StaticKey:
    """One configured key. With an `identity`, a token that names another is refused."""

    verifies: VerificationKey
    identity: str | None = None

    async def key(self, identity: str | None) -> VerificationKey | None:
        """The key, whatever the token calls it, unless it was given a name."""
        return self.verifies if self.identity in (None, identity) else None


class JwtCallers:
    """Reads tokens of one issuer. `now` in seconds since 1970."""

    def __init__(self, issuer: JwtIssuer, keys: KeySource, now: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._now = now

    async def authenticate(self, token: str) -> Caller | CallerRefusal:
        """The caller of a compact JWS. Its claims are read after its signature, never before."""
        header = _header(token)
        if header is None:
            return CallerRefusal(CallerFault.JWT_MALFORMED)
        algorithm, identity = header
        if algorithm not in self._issuer.algorithms:
            return CallerRefusal(CallerFault.JWT_ALGORITHM)
        try:
            key = await self._keys.key(identity)
        except KeysUnavailable:
            return CallerRefusal(CallerFault.JWT_KEYS_UNAVAILABLE)
        if key is None:
            return CallerRefusal(CallerFault.JWT_KEY_UNKNOWN)
        if algorithm not in key.algorithms:
            return CallerRefusal(CallerFault.JWT_ALGORITHM)
        try:
            # One algorithm is allowed, and it is one of the key's own.
            payload = jws.deserialize_compact(token, key.key, algorithms=[algorithm]).payload
        except (JoseError, ValueError, TypeError):
            return CallerRefusal(CallerFault.JWT_SIGNATURE)
        try:
            claims = parse_object(payload)
        except ValueError:
            return CallerRefusal(CallerFault.JWT_CLAIMS)
        return self._caller(claims)

    def _caller(self, claims: dict[str, Any]) -> Caller | CallerRefusal:
        issuer = self._issuer
        if claims.get("iss") != issuer.issuer:
            return CallerRefusal(CallerFault.JWT_ISSUER)
        audience = claims.get("aud")
        if audience != issuer.audience and not (isinstance(audience, list) and issuer.audience in audience):
            return CallerRefusal(CallerFault.JWT_AUDIENCE)
        fault = self._time_fault(claims)
        if fault is not None:
            return CallerRefusal(fault)
        subject = claims.get("sub")
        scopes = _scopes(claims)
        if not isinstance(subject, str) or scopes is None:
            return CallerRefusal(CallerFault.JWT_CLAIMS)
        try:
            return Caller(CallerMode.JWT, subject, issuer.tenant, scopes, until=claims["exp"] + LEEWAY)
        except ValueError:
            return CallerRefusal(CallerFault.JWT_CLAIMS)

    def _time_fault(self, claims: dict[str, Any]) -> CallerFault | None:
        """RFC 7519 §4.1.4 to §4.1.6; stricter in that a token without an end is refused."""
        now = self._now()
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        if "exp" not in times or not all(_is_number(value) for value in times.values()):
            return CallerFault.JWT_CLAIMS
        if now >= times["exp"] + LEEWAY:
            return CallerFault.JWT_EXPIRED
        if max(times.get("nbf", 0), times.get("iat", 0)) > now + LEEWAY:
            return CallerFault.JWT_NOT_YET_VALID
        return None


def _header(token: str) -> tuple[str, str | None] | None:
    """`alg` and `kid` of a token of the right form."""
    found = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN else None
    if found is None:
        return None
    try:
        header = parse_object(urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4)))
    except ValueError:
        return None
    algorithm, identity, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not _HEADER.issuperset(header) or not isinstance(algorithm, str):
        return None
    if not isinstance(identity, str | None) or not isinstance(kind, str) or kind.lower() not in _TYPES:
        return None
    return algorithm, identity


def _scopes(claims: dict[str, Any]) -> frozenset[str] | None:
    """`scope` (RFC 8693 §4.2), else `scp` as a list of texts or one text; none is no scope."""
    value = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return frozenset(value)
    try:
        return parse_scopes(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_number(value: object) -> bool:
    # NaN, which is neither before nor after anything, is not between two numbers either.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_FAR < value < _FAR
