"""Who calls, where the caller is no container: an API key, a JWT, or a trusted peer's word; one of them.

Actor and scopes come from there. Neither the body of a request nor any of its fields but `Authorization`, and
those of a trusted peer, has a say; this module is not even given the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from appliance.broker.identity.actors import Caller, CallerFault, CallerRefusal
from appliance.broker.identity.api_keys import ApiKeys, looks_like_api_key
from appliance.broker.identity.jwt_callers import JwtCallers
from appliance.broker.identity.trusted_headers import Headers, Peer, TrustedHeaders, strip

T = TypeVar("T")
Answering = Callable[[], Caller | CallerRefusal]
InThread = Callable[[Answering], Awaitable[Caller | CallerRefusal]]
"""Runs a blocking question elsewhere than in the reactor's thread."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The caller, and the request's fields without what proved it."""

    caller: Caller
    headers: Headers


class Callers:
    """The modes that are configured; one that is not accepts nobody."""

    def __init__(
        self,
        in_thread: InThread,
        now: Callable[[], datetime],
        *,
        api_keys: ApiKeys | None = None,
        jwt: JwtCallers | None = None,
        trusted: TrustedHeaders | None = None,
    ) -> None:
        self._in_thread = in_thread
        self._now = now
        self._api_keys = api_keys
        self._jwt = jwt
        self._trusted = trusted

    async def authenticate(self, headers: Headers, peer: Peer) -> Authenticated | CallerRefusal:
        """The caller of a request with these fields, over a connection of `peer`."""
        named = None if self._trusted is None else self._trusted.read(headers, peer)
        sent = [value for name, value in headers if name.lower() == _AUTHORIZATION]
        if len(sent) + (named is not None) > 1:
            return CallerRefusal(CallerFault.AMBIGUOUS)
        if named is not None:
            answer = named
        elif sent:
            answer = await self._by_authorization(sent[0])
        else:
            answer = CallerRefusal(CallerFault.UNAUTHENTICATED)
        if isinstance(answer, CallerRefusal):
            return answer
        return Authenticated(
            answer, tuple(field for field in strip(headers) if field[0].lower() != _AUTHORIZATION)
        )

    async def _by_authorization(self, value: bytes) -> Caller | CallerRefusal:
        token = _bearer(value)
        if token is None:
            return CallerRefusal(CallerFault.SCHEME)
        if looks_like_api_key(token):
            keys = self._api_keys
            if keys is None:
                return CallerRefusal(CallerFault.KEY_INVALID)
            return await self._in_thread(lambda: keys.authenticate(token, self._now()))
        if self._jwt is None:
            return CallerRefusal(CallerFault.JWT_MALFORMED)
        return await self._jwt.authenticate(token)


def _bearer(value: bytes) -> str | None:
    """The token behind `Bearer` in any case (RFC 9110 §11.1) and one space (RFC 6750 §2.1)."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer" or not token or b" " in token:
        return None
    try:
        return token.decode("ascii")
    except UnicodeDecodeError:
        return None


_AUTHORIZATION = b"authorization"
