"""Secrets to inject, requests to inject them into, and a token endpoint that is a list of answers."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from appliance.broker.credentials.exchanged import Exchanged, ExchangedTokens
from appliance.broker.credentials.outgoing import CredentialError, Fields, NoAnswer, Outgoing, TokenAnswer
from appliance.broker.vault.kinds import OAuthRefresh, parse_material

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CANARY = "canary-Zq81uXw0"
RSA = rsa.generate_private_key(65537, 2048)
RSA_PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

T = TypeVar("T")


def request(**changed: Any) -> Outgoing:
    fields: dict[str, Any] = {
        "method": "GET",
        "scheme": "https",
        "host": "api.example.com",
        "port": 443,
        "path": "/v1/things",
        "query": "",
        "headers": ((b"Host", b"api.example.com"), (b"Accept", b"*/*")),
        "body": b"",
    }
    return Outgoing(**(fields | changed))


def material(kind: str, **fields: Any) -> Any:
    return parse_material(json.dumps({"kind": kind, **fields}).encode())


def refresh(**changed: Any) -> OAuthRefresh:
    fields = {
        "token_url": "https://login.example.com/token",
        "client_id": "app",
        "client_secret": "client-secret",
        "refresh_token": "refresh-one",
    }
    found = material("oauth2-refresh", **(fields | changed))
    assert isinstance(found, OAuthRefresh)
    return found


def began(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    return Deferred.fromCoroutine(work)


def result(work: Coroutine[Any, Any, T] | Deferred[T]) -> T:
    """What a piece of work came to, which must be by now; raises what it raised."""
    deferred = work if isinstance(work, Deferred) else began(work)
    held: list[T | Failure] = []
    deferred.addBoth(held.append)
    assert held, "still under way"
    if isinstance(held[0], Failure):
        held[0].raiseException()
    return held[0]  # type: ignore[return-value]


def refusal(work: Coroutine[Any, Any, T] | Deferred[T]) -> CredentialError:
    try:
        result(work)
    except CredentialError as error:
        return error
    raise AssertionError("not refused")


class Endpoint:
    """What is posted, and answers in their order; one that is None waits for `answer`."""

    def __init__(self, *answers: TokenAnswer | NoAnswer | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[bytes, bytes], bytes]] = []
        self.waiting: list[Deferred[TokenAnswer]] = []

    async def __call__(self, url: str, fields: Fields, body: bytes) -> TokenAnswer:
        self.asked.append((url, dict(fields), body))
        assert len(dict(fields)) == len(fields)
        answer = self.answers.pop(0)
        if answer is None:
            self.waiting.append(Deferred())
            return await self.waiting[-1]
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def answer(status: int = 200, **members: Any) -> TokenAnswer:
    return TokenAnswer(status, json.dumps(members).encode())


def granted(token: str = "access-one", **members: Any) -> TokenAnswer:
    return answer(**({"access_token": token, "token_type": "Bearer", "expires_in": 3600} | members))


class Store:
    """The vault's part: keeps what is rotated, as version 2 and up."""

    def __init__(self) -> None:
        self.kept: list[OAuthRefresh] = []
        self.fails = False

    async def __call__(self, renewed: OAuthRefresh) -> int:
        if self.fails:
            raise OSError(f"disk full at {renewed.refresh_token.get_secret_value()}")
        self.kept.append(renewed)
        return len(self.kept) + 1


def exchanged(
    tokens: ExchangedTokens | None = None, account: str = "acme", store: Store | None = None
) -> Exchanged:
    return (tokens if tokens is not None else ExchangedTokens()).of("tenant", account, store or Store())
