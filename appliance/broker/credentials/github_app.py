"""GitHub Apps: the app names itself by a JWT and gets a token for one installation.

Source: GitHub's documentation of "Authenticating as a GitHub App installation" and of the REST endpoint
`POST /app/installations/{installation_id}/access_tokens`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from appliance.broker.credentials.exchanged import Token
from appliance.broker.credentials.oauth import answer_of, checked_token, read_members
from appliance.broker.credentials.outgoing import CredentialError
from appliance.broker.credentials.signed_jwt import seconds, signed_jwt

if TYPE_CHECKING:
    from appliance.broker.credentials.exchanged import Exchanged
    from appliance.broker.credentials.outgoing import Post
    from appliance.broker.vault.kinds import GithubApp

EARLIER = timedelta(seconds=60)
"""Against clocks that differ, as GitHub advises."""
LIFE = timedelta(minutes=9)
"""GitHub takes at most ten minutes, which begin `EARLIER`."""


async def installation_token(material: GithubApp, now: datetime, post: Post, exchanged: Exchanged) -> str:
    """A token of the installation. Raises `CredentialError`."""

    async def exchange() -> Token:
        url = f"{material.api_url}/app/installations/{material.installation_id}/access_tokens"
        fields = (
            (b"authorization", b"Bearer " + app_jwt(material, now).encode()),
            (b"accept", b"application/vnd.github+json"),
            (b"content-type", b"application/json"),
            (b"x-github-api-version", b"2022-11-28"),
            (b"user-agent", b"egress-broker"),  # without one GitHub refuses
        )
        answer = await answer_of(post, url, fields, _narrowed(material))
        if answer.status in (401, 404):
            raise CredentialError(
                "refresh-revoked",
                f"GitHub answered {answer.status}: the app's key or its installation is no longer valid.",
            )
        if answer.status != 201:
            raise CredentialError("token-endpoint-failed", f"GitHub answered {answer.status}.")
        members = read_members(answer)
        return Token(checked_token(members.get("token")), _moment(members.get("expires_at")))

    return await exchanged.token(material, "installation", now, exchange)


def app_jwt(material: GithubApp, now: datetime) -> str:
    """The app's own word for who it is."""
    claims: dict[str, str | int] = {
        "iss": material.app_id,
        "iat": seconds(now - EARLIER),
        "exp": seconds(now + LIFE),
    }
    return signed_jwt(claims, material.private_key)


def _narrowed(material: GithubApp) -> bytes:
    wanted: dict[str, Any] = {}
    if material.repositories:
        wanted["repositories"] = material.repositories
    if material.permissions:
        wanted["permissions"] = material.permissions
    return json.dumps(wanted).encode()


def _moment(text: object) -> datetime:
    moment = None
    if isinstance(text, str):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
    if moment is None or moment.tzinfo is None:
        raise CredentialError("token-endpoint-failed", "GitHub does not say when the token ends.")
    return moment
