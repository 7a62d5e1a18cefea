"""The gateway's way to the resolver: names become judged addresses over the resolver's control socket.

Requests are pipelined with ids on one connection that reconnects for ever. A request that a restart of the
resolver cut off is asked again within its own time, since asking twice does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, cast

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - what addTimeout raises
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.resolver.rate import OVER_RATE

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from appliance.names import HostName

TIMEOUT = 6.0
MAX_WAITING = 4096
RETRY_PAUSE = 0.02
UNAVAILABLE = "resolver-unavailable"
UNKNOWN_ENDPOINT = "endpoint-unknown"
"""The resolver has not heard of such a container of the tenant, or has heard that it left."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Addresses of a name, each judged for the tenant that asked, none empty; `ttl` in seconds."""

    addresses: tuple[IPv4Address, ...]
    ttl: int


class Unresolved(Exception):
    """The resolver gives no address: `reason` is a stable code, `detail` one sentence.

    `denied` tells a decision (with the `rule` that made it) from a failure.
    """

    def __init__(self, reason: str, detail: str, *, denied: bool = False, rule: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.denied = denied
        self.rule = rule

    @property
    def concerns_asker(self) -> bool:
        """Whether it tells of who asked and not of the name: somebody else might be answered."""
        return self.over_rate or self.reason == UNKNOWN_ENDPOINT

    @property
    def over_rate(self) -> bool:
        """Whether the container, or its tenant, asked too often."""
        return self.reason == OVER_RATE


class ResolverClient:
    """Asks the resolver on behalf of tenants. `control` is its control socket, `clock` the reactor."""

    def __init__(self, control: IStreamClientEndpoint, clock: Any, timeout: float = TIMEOUT) -> None:
        self._clock: IReactorTime = clock
        self._timeout = timeout
        self._waiting = 0
        self._service = ClientService(
            control,
            _AskerFactory(),
            # No jitter: we are a handful of processes on one machine.
            retryPolicy=backoffPolicy(initialDelay=0.05, maxDelay=1.0, jitter=lambda: 0.0),
            clock=clock,
        )

    def start(self) -> None:
        """Connect, and keep connecting."""
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Close the connection; fires when it is closed."""
        return self._service.stopService()

    async def resolve(
        self, tenant: str, name: HostName, account: str | None = None, *, endpoint: str | None = None
    ) -> Resolved:
        """Addresses that `tenant` may be connected to under `name`. Raises `Unresolved`.

        With an `account`: that the broker may, where the account's secret is exchanged. With an `endpoint`
        what goes upstream counts as its question.
        """
        message: Message = {"op": "resolve", "tenant": tenant, "name": name.text}
        if account is not None:
            message["account"] = account
        if endpoint is not None:
            message["endpoint"] = endpoint
        answer = await self._ask(message)
        try:
            return Resolved(tuple(IPv4Address(text) for text in answer["addresses"]), int(answer["ttl"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Unresolved(UNAVAILABLE, "the resolver's answer has not the agreed shape") from error

    async def pinned(
        self, tenant: str, name: HostName, address: IPv4Address, *, endpoint: str | None = None
    ) -> bool:
        """Whether `address` was in a judged set of `name` that `tenant` may still use.

        The resolver asks afresh, once, when it holds no set with that address: a question of the `endpoint`.
        Raises `Unresolved`.
        """
        message: Message = {"op": "pinned", "tenant": tenant, "name": name.text, "address": str(address)}
        if endpoint is not None:
            message["endpoint"] = endpoint
        answer = await self._ask(message)
        return answer.get("pinned") is True

    async def _ask(self, message: Message) -> Message:
        """Raises `Unresolved` when the answer is a refusal or there is none in time."""
        if self._waiting >= MAX_WAITING:
            raise Unresolved(UNAVAILABLE, "too many names are being resolved at this moment")
        self._waiting += 1
        try:
            answer = await Deferred.fromCoroutine(self._until_answered(message)).addTimeout(
                self._timeout, self._clock
            )
        except TimeoutError:
            raise Unresolved(UNAVAILABLE, f"the resolver did not answer in {self._timeout:g} s") from None
        finally:
            self._waiting -= 1
        if answer.get("ok") is not True:
            raise _refusal(answer)
        return answer

    async def _until_answered(self, message: Message) -> Message:
        while True:
            asker = cast("_Asker", await self._service.whenConnected())
            try:
                return await asker.ask(message)
            except ConnectionDone:
                # ClientService hears of the loss after the protocol did and offers the dead one until then.
                await deferLater(self._clock, RETRY_PAUSE)


def _refusal(answer: Message) -> Unresolved:
    """What a negative answer says: the resolver's own `reason`, or the control socket's `error`."""
    rule = answer.get("rule")
    return Unresolved(
        str(answer.get("reason") or answer.get("error") or UNAVAILABLE),
        str(answer.get("detail") or "the resolver gave no detail"),
        denied=answer.get("outcome") == "denied",
        rule=rule if isinstance(rule, str) else None,
    )


class _Asker(JsonLines):
    """One connection to the resolver."""

    def __init__(self) -> None:
        self._next = 0
        self._open: dict[int, Deferred[Message]] = {}
        self._lost = False

    def ask(self, message: Message) -> Deferred[Message]:
        """The answer to `message`, or `ConnectionDone` when the connection ends first."""
        self._next += 1
        number = self._next
        waiting: Deferred[Message] = Deferred(lambda _: self._forget(number))
        if self._lost:
            waiting.errback(ConnectionDone())
            return waiting
        self._open[number] = waiting
        self.send({**message, "id": number})
        return waiting

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)

    def message_received(self, message: Message) -> None:
        number = message.get("id")
        waiting = self._open.pop(number, None) if isinstance(number, int) else None
        if waiting is not None:
            waiting.callback(message)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's default argument
        del reason
        self._lost = True
        cut_off, self._open = self._open, {}
        for waiting in cut_off.values():
            waiting.errback(ConnectionDone())


class _AskerFactory(Factory):
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> _Asker:
        del addr
        return _Asker()
