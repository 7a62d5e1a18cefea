"""What the Docker engine knows, in our types; `netns.driver.docker_facts` asks it.

Source: Docker Engine API 1.41, `/_ping`, `/networks`, `/containers/json`, `/containers/{id}/json`,
`/images/{name}/json`, `/volumes/{name}`, `/exec/{id}/json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Protocol


class EngineUnavailable(Exception):
    """The engine did not answer in time, or not in its own terms; `str()` says what was asked."""


@dataclass(frozen=True, slots=True)
class NetworkFact:
    """A Docker network.

    `driver` is its driver's name as it was given, without a tag; `tenant` its option of that name. Pool and
    gateway are absent on odd networks.
    """

    id: str
    name: str
    driver: str
    tenant: str = ""
    pool: IPv4Network | None = None
    gateway: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A container on a network, by its endpoint there."""

    endpoint: str
    container: str
    name: str


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs, by its id.

    `networks` are names and ids of those that it is on and of the one that it was made for; `endpoints` has
    one for each that it is on.
    """

    container: str
    networks: tuple[str, ...]
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeFact:
    """A named volume; `options` are those of its driver (a bind mount in disguise has some)."""

    name: str
    driver: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ExecFact:
    """A process to be started in a container, as it was asked for."""

    container: str
    privileged: bool
    user: str


class Engine(Protocol):
    """Questions to dockerd; each raises `EngineUnavailable`, and `None` means: there is no such thing."""

    async def ping(self, mark: str) -> None:
        """Make dockerd answer a call whose request target ends with `mark`."""

    async def networks(self) -> tuple[NetworkFact, ...]:
        """Every network."""

    async def members(self, network: str) -> tuple[Member, ...]:
        """Containers on the network with this id; empty when there is no such network."""

    async def running(self) -> tuple[Running, ...]:
        """Every container that runs."""

    async def labels(self, container: str) -> Mapping[str, str]:
        """Labels of a container by id, also of one that is just being started."""

    async def container(self, reference: str) -> Mapping[str, Any] | None:
        """`docker inspect`; waits while the container is being started."""

    async def image_user(self, reference: str) -> str | None:
        """The user that an image names, perhaps empty."""

    async def volume(self, name: str) -> VolumeFact | None:
        """A named volume."""

    async def exec_instance(self, reference: str) -> ExecFact | None:
        """A created `docker exec`."""

    async def kill(self, container: str) -> None:
        """Stop a container at once; one that is gone is no error."""

    async def end_restarts(self, container: str) -> None:
        """Take away the policy by which Docker starts a container again; one that is gone is no error."""

    async def remove(self, container: str) -> None:
        """Remove a container that does not run, with its anonymous volumes; one that is gone is no error."""
