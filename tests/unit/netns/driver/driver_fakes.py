"""Recorder fakes of the driver's neighbours; no mocks, every fake keeps the protocol's own rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from netns.driver.facts import EngineUnavailable, ExecFact, Member, NetworkFact, Running, VolumeFact
from netns.driver.refusal import DriverRefused
from netns.plumbing import Attached, Attachment, Network, PlumbingError

T = TypeVar("T")
NET = "a" * 64
OTHER_NET = "b" * 64
ENDPOINT = "e" * 64


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Result of a coroutine that waits for nothing; re-raises what it raised."""
    results: list[T] = []
    failures: list[Any] = []
    Deferred.fromCoroutine(coroutine).addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    assert results, "the coroutine still waits"
    return results[0]


def posted(factory: Site, path: str, raw: bytes) -> tuple[int, Any]:
    """Status and answer of one call to the plugin socket, of which nothing waits."""
    factory.reactor = Clock()
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    protocol.dataReceived(head + raw)
    answer = transport.value()
    protocol.connectionLost(None)
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        size, _, rest = rest.partition(b"\r\n")
        rest = rest[: int(size, 16)]
    return int(head.split()[1]), json.loads(rest)


class FakePlumbing:
    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.net: dict[str, Network] = {}
        self.links: dict[str, Attachment] = {}
        self.broken = ""

    async def add_network(self, network: Network) -> None:
        self._act("add_network", network.id)
        self.net[network.id] = network

    async def remove_network(self, network: str) -> None:
        self._act("remove_network", network)
        self.net.pop(network, None)

    async def attach(self, attachment: Attachment) -> Attached:
        self._act("attach", attachment.endpoint)
        self.links[attachment.endpoint] = attachment
        return Attached("c-" + attachment.endpoint[:12], self.net[attachment.network].gateway)

    async def detach(self, endpoint: str) -> None:
        self._act("detach", endpoint)
        self.links.pop(endpoint, None)

    async def depart(self, endpoint: str) -> None:
        await self.detach(endpoint)

    async def describe(self, endpoint: str, *, container: str, name: str, run: str) -> None:
        self._act("describe", endpoint, container, name, run)

    def networks(self) -> tuple[Network, ...]:
        return tuple(self.net.values())

    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(self.links.values())

    def _act(self, *what: Any) -> None:
        if self.broken:
            raise PlumbingError(self.broken)
        self.log.append(what)


class FakeEngine:
    """An engine that knows what the test put in, counts what it was asked, and can be silent."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.authorization: list[Callable[[str], None]] = []
        self.net: list[NetworkFact] = []
        self.member: dict[str, tuple[Member, ...]] = {}
        self.run: list[Running] = []
        self.label: dict[str, Mapping[str, str]] = {}
        self.containers: dict[str, Mapping[str, Any]] = {}
        self.images: dict[str, str] = {}
        self.volumes: dict[str, VolumeFact] = {}
        self.execs: dict[str, ExecFact] = {}
        self.killed: list[str] = []
        self.ended: list[str] = []
        self.refused: set[str] = set()

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.silent or what in self.refused:
            raise EngineUnavailable(f"dockerd did not answer {what}")

    async def ping(self, mark: str) -> None:
        self._ask("ping")
        for listener in self.authorization:
            listener(f"/v1.41/_ping?{mark}")

    async def networks(self) -> tuple[NetworkFact, ...]:
        self._ask("networks")
        return tuple(self.net)

    async def members(self, network: str) -> tuple[Member, ...]:
        self._ask("members")
        return self.member.get(network, ())

    async def running(self) -> tuple[Running, ...]:
        self._ask("running")
        return tuple(self.run)

    async def labels(self, container: str) -> Mapping[str, str]:
        self._ask("labels")
        return self.label.get(container, {})

    async def container(self, reference: str) -> Mapping[str, Any] | None:
        self._ask(f"container {reference}")
        return self.containers.get(reference)

    async def image_user(self, reference: str) -> str | None:
        self._ask(f"image {reference}")
        return self.images.get(reference)

    async def volume(self, name: str) -> VolumeFact | None:
        self._ask(f"volume {name}")
        return self.volumes.get(name)

    async def exec_instance(self, reference: str) -> ExecFact | None:
        self._ask(f"exec {reference}")
        return self.execs.get(reference)

    async def kill(self, container: str) -> None:
        self._ask("kill")
        self.killed.append(container)

    async def end_restarts(self, container: str) -> None:
        self._ask("end restarts")
        self.ended.append(container)

    async def remove(self, container: str) -> None:
        self._ask(f"remove {container}")
        self.containers.pop(container, None)


class FakeSwitch:
    def __init__(self) -> None:
        self.on = True

    async def require_on(self) -> None:
        if not self.on:
            raise DriverRefused("egress: off")


class FakeSandboxes:
    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.refuse = ""

    async def joined(self, attachment: Attachment, sandbox_key: str, gateway: object) -> None:
        self.log.append(("joined", attachment.endpoint))
        if self.refuse:
            raise DriverRefused(self.refuse)

    def left(self, endpoint: str) -> None:
        self.log.append(("left", endpoint))
