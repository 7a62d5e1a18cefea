"""Google service accounts: an access token for scopes (RFC 7523), or one that the account signs itself.

Self-signed tokens are those of AIP-4111: for the API's own host, and no request to Google is needed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from appliance.broker.credentials.exchanged import Token
from appliance.broker.credentials.oauth import answer_of, read_answer
from appliance.broker.credentials.signed_jwt import Claims, seconds, signed_jwt

if TYPE_CHECKING:
    from appliance.broker.credentials.exchanged import Exchanged
    from appliance.broker.credentials.outgoing import Fields, Outgoing, Post
    from appliance.broker.vault.kinds import GcpServiceAccount

LIFE = timedelta(hours=1)
"""The most that Google takes."""
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1
_FIELDS: Fields = (
    (b"content-type", b"application/x-www-form-urlencoded"),
    (b"accept", b"application/json"),
)


async def access_token(
    material: GcpServiceAccount, outgoing: Outgoing, now: datetime, post: Post, exchanged: Exchanged
) -> str:
    """A token for the account's scopes, or for the request's host. Raises `CredentialError`."""

    async def exchange() -> Token:
        if not material.scopes:
            return Token(self_signed(material, outgoing.host, now), now + LIFE)
        form = urlencode({"grant_type": GRANT, "assertion": assertion(material, now)}).encode()
        token, _ = read_answer(await answer_of(post, material.token_url, _FIELDS, form), now)
        return token

    purpose = "access" if material.scopes else f"self-signed for {outgoing.host}"
    return await exchanged.token(material, purpose, now, exchange)


def assertion(material: GcpServiceAccount, now: datetime) -> str:
    """The JWT of RFC 7523 section 3 that is exchanged; its audience is the token endpoint."""
    return _signed(material, now, {"aud": material.token_url, "scope": " ".join(material.scopes)})


def self_signed(material: GcpServiceAccount, host: str, now: datetime) -> str:
    """The JWT that the API at `host` takes in the place of an access token."""
    return _signed(material, now, {"aud": f"https://{host}/", "sub": material.client_email})


def _signed(material: GcpServiceAccount, now: datetime, more: Claims) -> str:
    claims: Claims = {"iss": material.client_email, "iat": seconds(now), "exp": seconds(now + LIFE)}
    return signed_jwt(claims | more, material.private_key, material.private_key_id)
