"""The secret of an account into one request: which kind of secret goes into which slot.

The caller chooses method, path and body; where and how the secret goes is the definition's alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from appliance.broker.credentials import gcp, github_app, oauth
from appliance.broker.credentials.aws_hosts import scope_of
from appliance.broker.credentials.client_certificate import certificate_injection
from appliance.broker.credentials.hmac_signing import hmac_injection
from appliance.broker.credentials.outgoing import (
    CredentialError,
    Fields,
    Injection,
    NoAnswer,
    Outgoing,
    Post,
    TokenAnswer,
    applied,
)
from appliance.broker.credentials.sigv4 import S3_SERVICES, placeholder_of, sigv4_injection
from appliance.broker.credentials.static import basic_injection, mismatch, token_injection
from appliance.broker.vault.kinds import (
    AwsKeys,
    BasicSecret,
    ClientCertificate,
    GcpServiceAccount,
    GithubApp,
    HmacKey,
    Material,
    OAuthClientCredentials,
    OAuthRefresh,
    StaticSecret,
)
from appliance.broker.vault.secret_fields import MIN_SECRET

if TYPE_CHECKING:
    from appliance.broker.credentials.exchanged import Exchanged
    from appliance.policy.slot import Slot

__all__ = ["CredentialError", "Fields", "Injection", "NoAnswer", "Outgoing", "Post", "TokenAnswer", "applied",
           "inject", "needs_body", "placeholder_of", "secrets_of"]  # fmt: skip


async def inject(  # noqa: PLR0917 - each is another thing, and all are needed
    material: Material, slot: Slot, outgoing: Outgoing, now: datetime, post: Post, exchanged: Exchanged
) -> Injection:
    """What the secret adds to the request; `applied` adds it. Raises `CredentialError`, then nothing is sent.

    `now` is aware. `post` reaches token endpoints; `exchanged` is this account's part of what was exchanged.
    """
    if material.kind not in slot.kinds:  # before anything is asked of a provider
        raise mismatch(slot)
    match material:
        case StaticSecret():
            injection = token_injection(material.value.get_secret_value(), slot)
        case BasicSecret():
            injection = basic_injection(material, slot)
        case OAuthRefresh() | OAuthClientCredentials():
            injection = token_injection(await oauth.access_token(material, now, post, exchanged), slot)
        case GcpServiceAccount():
            token = await gcp.access_token(material, outgoing, now, post, exchanged)
            injection = token_injection(token, slot)
        case GithubApp():
            token = await github_app.installation_token(material, now, post, exchanged)
            injection = token_injection(token, slot)
        case AwsKeys():
            injection = sigv4_injection(material, slot, outgoing, now)
        case HmacKey():
            injection = hmac_injection(material, slot, outgoing, now)
        case ClientCertificate():
            injection = certificate_injection(material, slot, now)
    set_by_us = {name for name, _ in injection.set_headers}
    elsewhere = (name.encode("ascii") for name in slot.placeholder_fields or ())
    return Injection(
        injection.set_headers,
        injection.add_query,
        injection.client_certificate,
        live=tuple(dict.fromkeys((*injection.live, *secrets_of(material)))),
        drop_headers=(*injection.drop_headers, *(name for name in elsewhere if name not in set_by_us)),
    )


def needs_body(slot: Slot, host: str) -> bool:
    """Whether the whole body must be there before anything can be sent: the signature is over it."""
    if slot.hmac is not None:
        return not {"body", "body-hash"}.isdisjoint(slot.hmac.message)
    if slot.style == "sigv4":
        return (slot.service or scope_of(host).service) not in S3_SERVICES
    return False


def secrets_of(material: Material) -> tuple[bytes, ...]:
    """Every secret of the material that is long enough to be told from other text."""
    texts = [value.get_secret_value() for _, value in material if isinstance(value, SecretStr)]
    return tuple(text.encode() for text in texts if len(text) >= MIN_SECRET)
