"""The Docker SDK, which blocks, behind a bounded thread pool.

The address is always explicit: the SDK's `from_env` follows the caller's CLI contexts. Each thread has a
connection of its own, because a `requests` session is not meant to be shared.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any, TypeVar

import docker.errors
import requests.exceptions
from docker.api.client import APIClient
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from netns.driver.facts import EngineUnavailable, ExecFact, Member, NetworkFact, VolumeFact

T = TypeVar("T")


class DockerFacts:
    """Answers `netns.driver.facts.Engine` from dockerd's socket.

    `timeout` bounds each question, in seconds. A question about a container that is just being started
    waits for a lock in dockerd, so each purpose should have an instance of its own.
    """

    def __init__(self, reactor: Any, socket: Path, *, threads: int = 4, timeout: int = 10) -> None:
        self._reactor = reactor
        self._url = f"unix://{socket}"
        self._timeout = timeout
        self._local = threading.local()
        self._pool = ThreadPool(0, threads, name="docker")
        self._pool.start()

    def close(self) -> None:
        """Let the threads end; blocks for a question under way."""
        self._pool.stop()

    async def ping(self, mark: str) -> None:
        """See `Engine`."""

        def ping(client: APIClient) -> None:
            client.get(f"{client.base_url}/_ping?{mark}", timeout=self._timeout)

        await self._ask("/_ping", ping)

    async def networks(self) -> tuple[NetworkFact, ...]:
        """See `Engine`."""
        return tuple(network_fact(n) for n in await self._ask("/networks", lambda client: client.networks()))

    async def members(self, network: str) -> tuple[Member, ...]:
        """See `Engine`."""
        document = await self._find(f"/networks/{network}", lambda client: client.inspect_network(network))
        containers: Mapping[str, Any] = (document or {}).get("Containers") or {}
        return tuple(
            Member(str(entry.get("EndpointID", "")), container, str(entry.get("Name", "")))
            for container, entry in containers.items()
            if not container.startswith("ep-")  # an endpoint that is in no sandbox yet
        )

    async def labels(self, container: str) -> Mapping[str, str]:
        """See `Engine`: the list is served from a snapshot, without the container's lock."""
        found = await self._ask(
            "/containers/json", lambda client: client.containers(all=True, filters={"id": container})
        )
        return dict(found[0].get("Labels") or {}) if found else {}

    async def container(self, reference: str) -> Mapping[str, Any] | None:
        """See `Engine`."""
        return await self._find(
            f"/containers/{reference}/json", lambda client: client.inspect_container(reference)
        )

    async def image_user(self, reference: str) -> str | None:
        """See `Engine`."""
        document = await self._find(
            f"/images/{reference}/json", lambda client: _inspect_image(client, reference)
        )
        return None if document is None else str((document.get("Config") or {}).get("User") or "")

    async def volume(self, name: str) -> VolumeFact | None:
        """See `Engine`."""
        document = await self._find(f"/volumes/{name}", lambda client: client.inspect_volume(name))
        if document is None:
            return None
        return VolumeFact(str(document["Name"]), str(document["Driver"]), dict(document.get("Options") or {}))

    async def exec_instance(self, reference: str) -> ExecFact | None:
        """See `Engine`."""
        document = await self._find(f"/exec/{reference}/json", lambda client: client.exec_inspect(reference))
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

        def kill(client: APIClient) -> None:
            try:
                client.kill(container)
            except docker.errors.APIError as error:
                if error.status_code not in {404, 409}:  # gone, or not running
                    raise

        await self._ask(f"/containers/{container}/kill", kill)

    async def remove(self, container: str) -> None:
        """See `Engine`."""
        await self._find(
            f"/containers/{container}", lambda client: client.remove_container(container, v=True)
        )

    def _client(self) -> APIClient:
        client: APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = APIClient(base_url=self._url, version="auto", timeout=self._timeout)
            self._local.client = client
        return client

    async def _find(self, what: str, question: Callable[[APIClient], T]) -> T | None:
        def ask(client: APIClient) -> T | None:
            try:
                return question(client)
            except docker.errors.NotFound:
                return None

        return await self._ask(what, ask)

    async def _ask(self, what: str, question: Callable[[APIClient], T]) -> T:
        def ask() -> T:
            try:
                return question(self._client())
            except requests.exceptions.ConnectionError as error:
                self._local.client = None  # the next engine may speak another version
                raise EngineUnavailable(f"dockerd did not answer {what}: {error}") from error
            except (docker.errors.DockerException, requests.exceptions.RequestException, ValueError) as error:
                raise EngineUnavailable(f"dockerd did not answer {what}: {error}") from error

        return await deferToThreadPool(self._reactor, self._pool, ask)


def _inspect_image(client: APIClient, reference: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = client.inspect_image(reference)  # type: ignore[no-untyped-call] # stubs
    return document


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
        driver=str(document.get("Driver", "")).partition(":")[0],
        tenant=str((document.get("Options") or {}).get("tenant", "")),
        pool=pool,
        gateway=gateway,
    )
