"""An intermediate CA, a worker's or Squid's: key made here, certificate from the broker, renewed.

A worker keeps the key in memory alone. Squid reads a file, which `squid.files` writes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.tls.authority import new_key, signing_request

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint

FIRST_RETRY = 0.5
LAST_RETRY = 30.0
ANSWER_WITHIN = 10.0
_log = Logger()


class BrokerRefused(Exception):
    """The broker did not sign, or what it sent cannot be used; `str()` is one sentence."""


@dataclass(frozen=True, slots=True)
class Intermediate:
    """A signing key and the certificates that make it trusted. Nothing here writes it anywhere."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate
    root: x509.Certificate

    @property
    def not_after(self) -> datetime:
        """When it can no longer sign (aware, UTC)."""
        return self.certificate.not_valid_after_utc


async def request_intermediate(endpoint: IStreamClientEndpoint, clock: IReactorTime) -> Intermediate:
    """A fresh intermediate from the broker behind `endpoint`.

    Raises `BrokerRefused`, or what the endpoint raises when nobody listens there.
    """
    key = new_key()
    csr = signing_request(key).public_bytes(Encoding.PEM).decode("ascii")
    answer = await _ask(endpoint, {"op": "sign-intermediate", "csr": csr}, clock)
    if answer.get("ok") is not True:
        raise BrokerRefused(f"the broker refused: {answer.get('error')}: {answer.get('detail')}")
    try:
        certificate = x509.load_pem_x509_certificate(answer["certificate"].encode("ascii"))
        root = x509.load_pem_x509_certificate(answer["root"].encode("ascii"))
        certificate.verify_directly_issued_by(root)
    except (KeyError, AttributeError, TypeError, ValueError, InvalidSignature) as error:
        raise BrokerRefused("the broker's answer holds no certificate of its root") from error
    if certificate.public_key() != key.public_key():
        raise BrokerRefused("the broker signed another key than ours")
    return Intermediate(key, certificate, root)


class Renewal:
    """Keeps an intermediate current: asks at once, then at half its life; tries again with growing pauses."""

    def __init__(
        self,
        clock: IReactorTime,
        obtain: Callable[[], Awaitable[Intermediate]],
        installed: Callable[[Intermediate], None],
    ) -> None:
        self._clock = clock
        self._obtain = obtain
        self._installed = installed
        self._pause = FIRST_RETRY
        self._next: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._stopped = True

    def start(self) -> None:
        """Begin."""
        self._stopped = False
        self._begin()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._running is not None:
            self._running.cancel()

    def _begin(self) -> None:
        self._running = Deferred.fromCoroutine(self._renew())
        self._running.addErrback(self._failed)

    async def _renew(self) -> None:
        intermediate = await self._obtain()
        self._installed(intermediate)
        self._pause = FIRST_RETRY
        lifetime = intermediate.not_after - intermediate.certificate.not_valid_before_utc
        self._again(max(lifetime.total_seconds() / 2, LAST_RETRY))

    def _failed(self, failure: Failure) -> None:
        if self._stopped or isinstance(failure.value, CancelledError):
            return
        _log.warn("no intermediate certificate yet: {why}", why=failure.getErrorMessage())
        self._again(self._pause)
        self._pause = min(self._pause * 2, LAST_RETRY)

    def _again(self, seconds: float) -> None:
        if not self._stopped:
            self._next = self._clock.callLater(seconds, self._begin)


async def _ask(endpoint: IStreamClientEndpoint, message: Message, clock: IReactorTime) -> Message:
    conversation = await endpoint.connect(Factory.forProtocol(_Conversation))
    assert isinstance(conversation, _Conversation)
    conversation.send(message)
    try:
        return await conversation.answer.addTimeout(ANSWER_WITHIN, clock)
    finally:
        conversation.hang_up()


class _Conversation(JsonLines):
    """One question, one answer."""

    def __init__(self) -> None:
        self.answer: Deferred[Message] = Deferred()

    def message_received(self, message: Message) -> None:
        if not self.answer.called:
            self.answer.callback(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            lost = isinstance(reason.value, ConnectionDone | ConnectionLost)
            self.answer.errback(BrokerRefused("the broker hung up before it answered") if lost else reason)

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
