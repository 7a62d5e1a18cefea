"""Connects for the broker, which has no network: names are resolved and judged here, the socket is its own.

See `appliance.broker.calls.dials` for what is said. Nothing of a call is read here: the broker speaks TLS
over the socket, end to end with the server that proves the name.
"""

from __future__ import annotations

import socket
from dataclasses import asdict
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger

from appliance.gateway import refusals
from appliance.gateway.dial import DialFailed
from appliance.gateway.routes import NoRoute
from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.names import HostName, InvalidName
from appliance.policy.token_hosts import judge_token_host
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from appliance.gateway.worker import Worker

MAX_UNDER_WAY = 512
"""Questions of the broker that a worker answers at a time."""

_INVALID = refusals.failed(500, "dial-invalid", "What the broker wishes cannot be read.")
_BUSY = refusals.failed(503, "dialler-busy", "Too much is being dialled for the broker at once.")

_log = Logger()


class Dials:
    """The connection of worker `number` to the broker behind `endpoint`, made again whenever it is lost."""

    def __init__(self, worker: Worker, number: int, endpoint: IStreamClientEndpoint) -> None:
        self._service = ClientService(
            endpoint,
            _Factory(worker, number),
            retryPolicy=backoffPolicy(initialDelay=0.05, maxDelay=1.0, jitter=lambda: 0.0),
            clock=worker.reactor,
        )

    def start(self) -> None:
        """Connect, and keep connecting."""
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Fires when the connection is closed."""
        return self._service.stopService()


class _Factory(Factory):
    noisy = False

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._number = number

    def buildProtocol(self, addr: IAddress | None) -> Dialling:
        del addr
        return Dialling(self._worker, self._number)


class Dialling(JsonLines):
    """One connection to the broker."""

    MAX_LENGTH = 64 * 1024

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._number = number
        self._under_way: set[Deferred[None]] = set()
        self._sent: dict[object, socket.socket] = {}

    def connectionMade(self) -> None:
        """Say who we are."""
        self.send({"worker": self._number})

    def message_received(self, message: Message) -> None:
        """A wish, or the word that a socket has arrived."""
        if message.get("op") == "taken":
            sent = self._sent.pop(message.get("id"), None)
            if sent is not None:
                sent.close()
            return
        if len(self._under_way) >= MAX_UNDER_WAY:
            self._refuse(message, _BUSY)
            return
        answering = Deferred.fromCoroutine(self._answer(message))
        self._under_way.add(answering)
        answering.addErrback(self._bug, message)
        answering.addBoth(lambda _: self._under_way.discard(answering))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The broker is gone: so is what it wished for."""
        del reason
        self.transport = None
        for answering in tuple(self._under_way):
            answering.cancel()
        while self._sent:
            self._sent.popitem()[1].close()

    async def _answer(self, message: Message) -> None:
        try:
            host, addresses, holds = await self._find(message)
            if message.get("op") == "find":
                found = [str(a) for a in addresses]
                self.send({"id": message["id"], "ok": True, "addresses": found, "holds": holds})
                return
            wanted = [a for a in addresses if str(a) in message.get("addresses", ())]
            if not wanted:
                raise NoRoute(refusals.not_pinned(host, message.get("addresses")))  # noqa: TRY301 - refused below
            transport, address = await self._worker.dialler.connect(wanted, int(message["port"]))
        except (NoRoute, DialFailed) as answer:
            self._refuse(message, answer.refusal)
            return
        self._hand_over(message, detached(transport), address)

    async def _find(self, message: Message) -> tuple[HostName, tuple[IPv4Address, ...], float]:
        """A host, its addresses, and for how many seconds we say the same unless the policy changes."""
        try:
            host = HostName.parse(str(message["host"]))
            policy = self._worker.policy(str(message["tenant"]))
            port = int(message["port"])
            account = _account(message)
        except (InvalidName, KeyError, ValueError) as error:
            raise NoRoute(_INVALID) from error
        if account is None:
            verdict = policy.judge_host("https", host, port)
        else:
            verdict = judge_token_host(policy, account, host, port)
        if not verdict.allowed:
            raise NoRoute(refusals.from_verdict(verdict))
        routes = self._worker.routes
        kept = routes.kept(policy, host, port, account)
        addresses = kept or await routes.find(policy, host, port, account)
        return host, addresses, routes.holds(policy, host, port, account)

    def _hand_over(self, message: Message, connected: socket.socket, address: IPv4Address) -> None:
        transport: Any = self.transport
        if transport is None:
            connected.close()
            return
        # It must stay open until the kernel has it on its way, which the broker's answer tells.
        self._sent[message["id"]] = connected
        transport.sendFileDescriptor(connected.fileno())
        self.send({"id": message["id"], "ok": True, "address": str(address)})

    def _refuse(self, message: Message, refusal: Refusal) -> None:
        self.send({"id": message.get("id"), "ok": False, "refusal": asdict(refusal)})

    def _bug(self, failure: Failure, message: Message) -> None:
        if self.transport is not None:
            _log.failure("a wish of the broker failed", failure=failure)
            self._refuse(message, refusals.INTERNAL)


def _account(message: Message) -> str | None:
    """For which account the broker itself asks; None: for a call. Raises `ValueError`."""
    account = message.get("account")
    if account is not None and not isinstance(account, str):
        raise ValueError("an account is called by a text")
    return account


def detached(transport: Any) -> socket.socket:
    """The socket of a connected transport, of which the reactor knows nothing any more.

    Not closed by the transport: Twisted would shut the connection down for whoever holds it.
    """
    handle = transport.getHandle()
    connected: socket.socket = handle.dup()
    transport.stopReading()
    transport.stopWriting()
    handle.close()
    return connected
