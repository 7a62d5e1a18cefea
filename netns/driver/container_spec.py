"""A container as it is asked for (`POST /containers/create`) or as it is (`docker inspect`). Pure.

Source: Docker Engine API 1.41 and moby `runconfig/config_unix.go`: without an inner `HostConfig`, dockerd
takes the fields of the outer object for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from netns.driver.facts import NetworkFact
from netns.driver.go_json import Pairs, Struct, UnclearBody

JOIN = "container:"
# Names that dockerd never takes for a user's network (moby `container.NetworkMode.IsUserDefined`).
BUILT_IN = frozenset({"", "default", "bridge", "host", "none"})


class Writer(Enum):
    """Who wrote the specification: a client, or the engine after it had filled in its defaults."""

    CLIENT = "client"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """`config` is the outer object of a request; `host` the HostConfig in force; `endpoints` by network."""

    writer: Writer
    config: Struct
    host: Struct
    endpoints: Mapping[str, Struct]

    @property
    def network_mode(self) -> str:
        """`--network` as dockerd reads it."""
        return self.host.text("NetworkMode")

    def network_references(self) -> tuple[str, ...]:
        """Every name or id by which the container could come to a network that a user has made."""
        found = [self.network_mode, *self.endpoints]
        # moby `getNetworkID`: the id in an endpoint's settings goes before the name that it stands under.
        found += [endpoint.text("NetworkID") for endpoint in self.endpoints.values()]
        return tuple(
            dict.fromkeys(name for name in found if name not in BUILT_IN and not name.startswith(JOIN))
        )

    def joined_containers(self) -> Mapping[str, str]:
        """Containers whose namespaces or volumes this one shares, and the flag that does it."""
        found: dict[str, str] = {}
        for field, flag in (
            ("NetworkMode", "--network"),
            ("PidMode", "--pid"),
            ("IpcMode", "--ipc"),
            ("UTSMode", "--uts"),
            ("Cgroup", "--cgroup"),
        ):
            mode = self.host.text(field)
            if mode.startswith(JOIN):
                found.setdefault(mode.removeprefix(JOIN), f"{flag} {mode}")
        for source in self.host.texts("VolumesFrom"):
            found.setdefault(source.partition(":")[0], f"--volumes-from {source}")
        return found


def of_request(body: Struct) -> ContainerSpec:
    """From the body of a create call. Raises `UnclearBody`."""
    networking = body.struct("NetworkingConfig") or Struct.of(Pairs(), "NetworkingConfig.")
    return ContainerSpec(
        Writer.CLIENT,
        body,
        body.struct("HostConfig") or body,
        _endpoints(networking.mapping("EndpointsConfig"), "NetworkingConfig.EndpointsConfig"),
    )


def of_engine(document: Mapping[str, Any]) -> ContainerSpec:
    """From what `docker inspect` says. Raises `UnclearBody` when a part is missing."""
    whole = Struct.of(document, "")
    config, host, settings = (whole.struct(name) for name in ("Config", "HostConfig", "NetworkSettings"))
    if config is None or host is None or settings is None:
        raise UnclearBody("dockerd did not describe the container completely")
    endpoints = _endpoints(settings.mapping("Networks"), "NetworkSettings.Networks")
    return ContainerSpec(Writer.ENGINE, config, host, endpoints)


def _endpoints(entries: Mapping[str, Any], path: str) -> dict[str, Struct]:
    return {
        name: Struct.of(Pairs() if value is None else value, f"{path}.{name}.")
        for name, value in entries.items()
    }


def networks_named(reference: str, networks: Iterable[NetworkFact]) -> tuple[NetworkFact, ...]:
    """The networks that dockerd may mean by a reference: a full id, else a name, else a beginning of an id.

    Source: moby `daemon.FindNetwork`. More than one is an error to dockerd, and a possibility to us.
    """
    every = tuple(networks)
    return (
        tuple(n for n in every if n.id == reference)
        or tuple(n for n in every if n.name == reference)
        or tuple(n for n in every if reference and n.id.startswith(reference))
    )
