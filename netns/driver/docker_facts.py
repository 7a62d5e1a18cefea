"""What dockerd answers, in our types; questions block, so they are asked behind a bounded thread pool.

The socket is always explicit, and no environment or context of a caller is read. Each thread has a connection
of its own. Paths name no version: dockerd answers in its newest.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from netns.driver.engine_http import EngineError, EngineHTTP, NotFound, path_of
from netns.driver.facts import EngineUnavailable, ExecFact, Member, NetworkFact, Running, VolumeFact
from netns.driver.network_request import without_tag

T = TypeVar("T")


class DockerFacts:
    """Answers `netns.driver.facts.Engine` from dockerd's socket.

    `timeout` bounds each question, in seconds. A question about a container that is just being started
    waits for a lock in dockerd, so each purpose should have an instance of its own.
    """

    def __init__(self, reactor: Any, socket: Path, *, threads: int = 4, timeout: int = 10) -> None:
        self._reactor = reactor
        self._socket = socket
        self._timeout = timeout
        self._local = threading.local()
        self._pool = ThreadPool(0, threads, name="docker")
        self._pool.start()

    def close(self) -> None:
        """Let the threads end; blocks for a question under way."""
        self._pool.stop()

    async def ping(self, mark: str) -> None:
        """See `Engine`."""
        await self._ask("/_ping", lambda engine: engine.ask(f"/_ping?{mark}"))

    async def networks(self) -> tuple[NetworkFact, ...]:
        """See `Engine`."""
        found = await self._ask("/networks", lambda engine: engine.ask("/networks"))
        return tuple(network_fact(document) for document in found or ())

    async def members(self, network: str) -> tuple[Member, ...]:
        """See `Engine`."""
        document = await self._find("/networks/{}", network)
        containers: Mapping[str, Any] = (document or {}).get("Containers") or {}
        return tuple(
            Member(str(entry.get("EndpointID", "")), container, str(entry.get("Name", "")))
            for container, entry in containers.items()
            if not container.startswith("ep-")  # an endpoint that is in no sandbox yet
        )

    async def running(self) -> tuple[Running, ...]:
        """See `Engine`: served from a snapshot, without a container's lock."""
        found = await self._ask("/containers/json", lambda engine: engine.ask("/containers/json"))
        return tuple(running(document) for document in found or ())

    async def labels(self, container: str) -> Mapping[str, str]:
        """See `Engine`: the list is served from a snapshot, without the container's lock."""
        only = quote(json.dumps({"id": [container]}))
        found = await self._ask(
            "/containers/json", lambda engine: engine.ask(f"/containers/json?all=1&filters={only}")
        )
        return dict(found[0].get("Labels") or {}) if found else {}

    async def container(self, reference: str) -> Mapping[str, Any] | None:
        """See `Engine`."""
        document: Mapping[str, Any] | None = await self._find(
            "/containers/{}/json", reference.removeprefix("/")
        )
        return document

    async def image_user(self, reference: str) -> str | None:
        """See `Engine`."""
        document = await self._find("/images/{}/json", reference)
        return None if document is None else str((document.get("Config") or {}).get("User") or "")

    async def volume(self, name: str) -> VolumeFact | None:
        """See `Engine`."""
        document = await self._find("/volumes/{}", name)
        if document is None:
            return None
        return VolumeFact(str(document["Name"]), str(document["Driver"]), dict(document.get("Options") or {}))

    async def exec_instance(self, reference: str) -> ExecFact | None:
        """See `Engine`."""
        document = await self._find("/exec/{}/json", reference)
        if document is None:
            return None
        process = document.get("ProcessConfig") or {}
        return ExecFact(
            str(document.get("ContainerID", "")),
            bool(process.get("privileged")),
            str(process.get("user") or ""),
        )

    async def kill(self, container: str) -> None:
        """See `Engine`."""

        def kill(engine: EngineHTTP) -> None:
            try:
                engine.ask(path_of("/containers/{}/kill", container), "POST")
            except EngineError as error:
                if error.status not in {http.client.NOT_FOUND, http.client.CONFLICT}:  # gone, or not running
                    raise

        await self._ask(f"/containers/{container}/kill", kill)

    async def end_restarts(self, container: str) -> None:
        """See `Engine`."""
        await self._ask(f"/containers/{container}/update", lambda engine: end_restarts(engine, container))

    async def remove(self, container: str) -> None:
        """See `Engine`."""
        await self._find("/containers/{}", container, "DELETE", "?v=1")

    def _engine(self) -> EngineHTTP:
        engine: EngineHTTP | None = getattr(self._local, "engine", None)
        if engine is None:
            engine = self._local.engine = EngineHTTP(self._socket, self._timeout)
        return engine

    async def _find(self, form: str, reference: str, method: str = "GET", query: str = "") -> Any:
        def ask(engine: EngineHTTP) -> Any:
            try:
                return engine.ask(path_of(form, reference) + query, method)
            except NotFound:
                return None

        return await self._ask(form.format(reference), ask)

    async def _ask(self, what: str, question: Callable[[EngineHTTP], T]) -> T:
        def ask() -> T:
            try:
                return question(self._engine())
            except EngineError as error:
                raise EngineUnavailable(f"dockerd did not answer {what}: {error}") from error

        return await deferToThreadPool(self._reactor, self._pool, ask)


def end_restarts(engine: EngineHTTP, container: str) -> None:
    """Give a container the restart policy `no` unless it has it. Raises `EngineError`."""
    try:
        document = engine.ask(path_of("/containers/{}/json", container))
        policy = (document.get("HostConfig") or {}).get("RestartPolicy") or {}
        if policy.get("Name", "") not in {"", "no"}:
            change = {"RestartPolicy": {"Name": "no"}}
            engine.ask(path_of("/containers/{}/update", container), "POST", change)
    except EngineError as error:
        if error.status not in {http.client.NOT_FOUND, http.client.CONFLICT}:  # gone, or about to be
            raise


def running(document: Mapping[str, Any]) -> Running:
    """One entry of `GET /containers/json`."""
    networks: Mapping[str, Any] = (document.get("NetworkSettings") or {}).get("Networks") or {}
    settings = [entry or {} for entry in networks.values()]
    mode = str((document.get("HostConfig") or {}).get("NetworkMode", ""))
    return Running(
        str(document.get("Id", "")),
        (mode, *networks, *(str(entry.get("NetworkID", "")) for entry in settings)),
        tuple(str(entry.get("EndpointID", "")) for entry in settings),
    )


def network_fact(document: Mapping[str, Any]) -> NetworkFact:
    """One entry of `GET /networks`; addresses that are none are left out."""
    ranges = (document.get("IPAM") or {}).get("Config") or [{}]
    try:
        pool = IPv4Network(ranges[0].get("Subnet", ""))
        gateway = IPv4Address(ranges[0].get("Gateway", "").partition("/")[0])
    except (AddressValueError, NetmaskValueError, ValueError):
        pool, gateway = None, None
    return NetworkFact(
        id=str(document.get("Id", "")),
        name=str(document.get("Name", "")),
        driver=without_tag(str(document.get("Driver", ""))),
        tenant=str((document.get("Options") or {}).get("tenant", "")),
        pool=pool,
        gateway=gateway,
    )
