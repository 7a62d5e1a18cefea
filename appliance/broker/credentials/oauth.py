"""OAuth 2 tokens (RFC 6749): from a refresh token (section 6) or as a client of one's own (section 4.4).

Of what a token endpoint says nothing is passed on but a token into its slot: not its error texts, and of its
error codes only those that RFC 6749 defines.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from pydantic import SecretStr

from appliance.broker.credentials.exchanged import Token
from appliance.broker.credentials.outgoing import CredentialError, Fields, NoAnswer
from appliance.broker.vault.kinds import OAuthClientCredentials, OAuthRefresh

if TYPE_CHECKING:
    from appliance.broker.credentials.exchanged import Exchanged, Rotated
    from appliance.broker.credentials.outgoing import Post, TokenAnswer

MAX_ANSWER = 64 * 1024
MAX_TOKEN = 16 * 1024
DEFAULT_LIFE = timedelta(minutes=5)
"""Of a token whose end the provider does not say (RFC 6749 section 5.1 only recommends it)."""
MAX_SAID_LIFE = timedelta(days=400)

_TOKEN = re.compile(r"[!-~]+")  # RFC 6749 appendix A.12, without the space
_SECONDS = re.compile(r"[1-9][0-9]{0,9}")
_ERRORS = frozenset(  # RFC 6749 section 5.2
    {"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)
_FORM = (b"content-type", b"application/x-www-form-urlencoded")
_JSON = (b"accept", b"application/json")


async def access_token(
    material: OAuthRefresh | OAuthClientCredentials, now: datetime, post: Post, exchanged: Exchanged
) -> str:
    """An access token that lasts. Raises `CredentialError`."""

    async def exchange() -> Token:
        return await _exchange(material, now, post, exchanged)

    return await exchanged.token(material, "access", now, exchange)


async def _exchange(
    material: OAuthRefresh | OAuthClientCredentials, now: datetime, post: Post, exchanged: Exchanged
) -> Token:
    fields, body = token_request(material)
    answer = await answer_of(post, material.token_url, fields, body)
    token, refresh_token = read_answer(answer, now)
    if not isinstance(material, OAuthRefresh) or refresh_token in (
        None,
        material.refresh_token.get_secret_value(),
    ):
        return token
    renewed = await _stored(material, refresh_token, exchanged.rotated)
    return Token(token.text, token.expires, exchanged.tokens.mark(renewed))


async def _stored(material: OAuthRefresh, refresh_token: str | None, rotated: Rotated) -> OAuthRefresh:
    """RFC 6749 section 6: the old one is discarded, and the provider may have revoked it already."""
    replaced = material.model_dump() | {"refresh_token": SecretStr(refresh_token or "")}
    try:
        renewed = OAuthRefresh.model_validate(replaced)
    except ValueError:
        renewed = None
    if renewed is None:
        raise CredentialError("token-endpoint-failed", "The token endpoint's new refresh token is malformed.")
    version = None
    with contextlib.suppress(Exception):  # whatever the store says: the token is not used
        version = await rotated(renewed)
    if version is None:
        raise CredentialError(
            "rotation-not-stored", "A new refresh token was issued and could not be stored."
        )
    return renewed


def token_request(material: OAuthRefresh | OAuthClientCredentials) -> tuple[Fields, bytes]:
    """Fields and form of the request. The client says who it is by section 2.3.1, or by its name alone."""
    form: dict[str, str | None] = {}
    match material:
        case OAuthRefresh():
            form["grant_type"] = "refresh_token"
            form["refresh_token"] = material.refresh_token.get_secret_value()
        case OAuthClientCredentials():
            form["grant_type"] = "client_credentials"
            form["audience"] = material.audience
    form["scope"] = material.scope
    secret = material.client_secret.get_secret_value() if material.client_secret else None
    fields: Fields = (_FORM, _JSON)
    if secret is not None and material.client_authentication == "basic":
        fields = (*fields, (b"authorization", b"Basic " + client_basic(material.client_id, secret)))
    else:
        form |= {"client_id": material.client_id, "client_secret": secret}
    return fields, urlencode({name: value for name, value in form.items() if value is not None}).encode()


def client_basic(client_id: str, secret: str) -> bytes:
    """RFC 6749 section 2.3.1: both parts are form-encoded (appendix B) before they are joined."""
    return base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode())


async def answer_of(post: Post, url: str, fields: Fields, body: bytes) -> TokenAnswer:
    """What the endpoint answers. Raises `CredentialError`."""
    answer = None
    with contextlib.suppress(NoAnswer):
        answer = await post(url, fields, body)
    if answer is None:
        raise CredentialError("token-endpoint-failed", "The token endpoint did not answer.")
    return answer


def read_answer(answer: TokenAnswer, now: datetime) -> tuple[Token, str | None]:
    """The token of RFC 6749 section 5.1, and the new refresh token if any. Raises `CredentialError`."""
    if answer.status != 200:
        raise _refusal(answer)
    members = read_members(answer)
    text, kind = members.get("access_token"), members.get("token_type")
    # Section 7.1: a token of a type that the client does not understand must not be used.
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _useless("is of another type than bearer")
    refresh_token = members.get("refresh_token")
    if not isinstance(refresh_token, str | None):
        raise _useless("has a refresh token that is no text")
    return Token(checked_token(text), now + _life(members.get("expires_in"))), refresh_token or None


def read_members(answer: TokenAnswer) -> dict[str, Any]:
    """The JSON object, no member of which is there twice. Raises `CredentialError`."""
    members = None
    if len(answer.body) <= MAX_ANSWER:
        with contextlib.suppress(ValueError, RecursionError):
            members = json.loads(answer.body.decode(), object_pairs_hook=_distinct)
    if not isinstance(members, dict):
        raise _useless("is no JSON object of a bounded size with each member once")
    return members


def checked_token(text: object) -> str:
    """The token if it could stand in a header field. Raises `CredentialError`."""
    if not isinstance(text, str) or len(text) > MAX_TOKEN or not _TOKEN.fullmatch(text):
        raise _useless("holds no usable token")
    return text


def _life(seconds: object) -> timedelta:
    if seconds is None:
        return DEFAULT_LIFE
    # Some write the number as a text.
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | str)
        or not _SECONDS.fullmatch(str(seconds))
    ):
        raise _useless("does not say when the token ends")
    return min(timedelta(seconds=int(seconds)), MAX_SAID_LIFE)


def _refusal(answer: TokenAnswer) -> CredentialError:
    error = None
    if answer.status in (400, 401):
        try:
            error = read_members(answer).get("error")
        except CredentialError:
            error = None
    if error == "invalid_grant":
        return CredentialError(
            "refresh-revoked", "The provider has revoked the grant; connect the account again."
        )
    told = f"refused: {error}" if isinstance(error, str) and error in _ERRORS else f"answered {answer.status}"
    return CredentialError("token-endpoint-failed", f"The token endpoint {told}.")


def _useless(why: str) -> CredentialError:
    return CredentialError("token-endpoint-failed", f"The token endpoint's answer {why}.")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members
