"""A POST to a token endpoint of an account, its answer whole and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.broker.calls.own_request import OwnRequest
from appliance.broker.credentials.outgoing import Fields, NoAnswer, TokenAnswer
from appliance.broker.identity.bounded_answer import AnswerTooLarge, AnswerTooSlow, read_bounded, within

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from appliance.broker.calls.own_request import OwnRequests, PolicyNow
    from appliance.handover import Attestation

MAX_ANSWER = 64 * 1024
SECONDS = 20.0
"""From the first question to the last octet."""


class TokenEndpoints:
    """`post` is a `credentials.outgoing.Post` but for its first three arguments."""

    def __init__(self, requests: OwnRequests, clock: IReactorTime) -> None:
        self._requests = requests
        self._clock = clock

    async def post(  # noqa: PLR0917 - the first three are bound where it is used
        self,
        attestation: Attestation,
        policy: PolicyNow,
        account: str,
        url: str,
        fields: Fields,
        body: bytes,
    ) -> TokenAnswer:
        """The answer, whole and bounded. Raises `NoAnswer`."""
        asking = self._asked(attestation, policy, account, OwnRequest("POST", url, fields, body))
        try:
            return await within(SECONDS, self._clock, asking)
        except (AnswerTooSlow, AnswerTooLarge):
            raise NoAnswer from None

    async def _asked(
        self, attestation: Attestation, policy: PolicyNow, account: str, request: OwnRequest
    ) -> TokenAnswer:
        answer = await self._requests.send(attestation, policy, account, request)
        try:
            return TokenAnswer(answer.status, await read_bounded(answer, MAX_ANSWER))
        finally:
            answer.abort()
