"""A JWT signed with RS256 (RFC 7519, RFC 7515): how apps and service accounts name themselves."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from joserfc import jwt
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from pydantic import SecretStr

Claims = dict[str, str | int]


def signed_jwt(claims: Claims, private_key: SecretStr, key_id: str | None = None) -> str:
    """The compact form. `private_key` is PEM and has been checked when it was stored."""
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    return jwt.encode(header, claims, RSAKey.import_key(private_key.get_secret_value()), ["RS256"])


def seconds(moment: datetime) -> int:
    """A NumericDate of RFC 7519 section 2."""
    return int(moment.timestamp())
