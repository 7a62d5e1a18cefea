"""Requests to the servers that the operator's settings name for the broker itself: an external CA, a key set.

A worker connects it there by the policy of `appliance.policy.platform`; TLS is verified for the name against
`upstream_ca`. No redirect is followed. How long an answer may take, and how much of it is read, is the
caller's to say (`identity.bounded_answer`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from appliance.broker.calls.own_request import NotAsked, OwnRequest
from appliance.policy.platform import ACCOUNT
from appliance.workload import PLATFORM

if TYPE_CHECKING:
    from appliance.broker.calls.dials import Dials
    from appliance.broker.calls.own_request import OwnAnswer, OwnRequests
    from appliance.policy.tenant import TenantPolicy

_ACCEPT = (b"Accept", b"application/json")
_JSON = (b"Content-Type", b"application/json")
_log = Logger()


@dataclass(frozen=True, slots=True)
class _Platform:
    """Implements `providers.Asker`."""

    worker: int
    tenant: str = PLATFORM


class Ways(Protocol):
    """What `serving.Calls` has for it."""

    requests: OwnRequests
    dials: Dials


class PlatformRequests:
    """Over the workers of `calls`. `policy` gives the one in force of a tenant, and of `PLATFORM`."""

    def __init__(self, calls: Ways, policy: Callable[[str], TenantPolicy]) -> None:
        self._requests = calls.requests
        self._dials = calls.dials
        self._policy = policy

    async def fetch(self, url: str) -> OwnAnswer:
        """The head of the answer to a GET; see `identity.jwks.Fetch`. Raises `NoAnswer`."""
        return await self._send(OwnRequest("GET", url, (_ACCEPT,)))

    async def post(self, url: str, body: bytes) -> OwnAnswer:
        """The head of the answer to a POST of JSON; see `identity.external_ca.Post`. Raises `NoAnswer`."""
        return await self._send(OwnRequest("POST", url, (_ACCEPT, _JSON), body))

    async def _send(self, request: OwnRequest) -> OwnAnswer:
        asker = _Platform(self._dials.any_worker())
        try:
            return await self._requests.send(asker, partial(self._policy, PLATFORM), ACCOUNT, request)
        except NotAsked as error:  # whoever waits is not told; the operator has to mend it
            _log.warn("{url} was not asked: {reason}", url=request.url, reason=error.reason)
            raise
