"""To whom a secret would be shown to get a token for it: a host that the platform has named, or nobody.

The address stands in the secret's own document, which whoever stores secrets has written; the hosts are the
integration's, or its account's (`appliance.policy.token_hosts`).
"""

from __future__ import annotations

from collections.abc import Container

from appliance.broker.credentials.outgoing import CredentialError
from appliance.broker.vault.kinds import (
    GcpServiceAccount,
    GithubApp,
    Material,
    OAuthClientCredentials,
    OAuthRefresh,
)
from appliance.platform_url import service_of


def exchanged_at(material: Material) -> str | None:
    """The URL that is asked for a token; None for a secret that is used without asking anybody."""
    match material:
        case OAuthRefresh() | OAuthClientCredentials():
            return material.token_url
        case GcpServiceAccount():
            return material.token_url if material.scopes else None
        case GithubApp():
            return material.api_url
        case _:
            return None


def check_exchange_host(material: Material, named: Container[tuple[str, int]]) -> None:
    """Raises `CredentialError` unless the secret goes to one of these hosts (canonical text) and ports."""
    url = exchanged_at(material)
    if url is None:
        return
    try:
        is_named = service_of(url) in named
    except ValueError:
        is_named = False
    if not is_named:
        raise CredentialError(
            "token-host-not-named",
            "The secret's token URL leads to no token host of its integration account.",
        )
