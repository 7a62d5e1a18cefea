"""May this Docker API call be made? Pure: from the call and the engine's facts to Admitted or Refused.

Containers on other networks are none of our business, as long as they do not share a namespace or a volume
with one of ours. For the rules see `netns.driver.requirements`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netns.driver.container_spec import BUILT_IN, JOIN, ContainerSpec, networks_named, of_engine
from netns.driver.facts import ExecFact, NetworkFact
from netns.driver.go_json import Struct, UnclearBody, is_set
from netns.driver.network_request import is_plain, may_name
from netns.driver.requirements import REQUIREMENTS, Asked, Facts, numeric_user

# What `docker update` may carry for a container of ours: numbers that do not lift a limit.
_UPDATE_FIELDS = (
    "CpuShares Memory NanoCpus BlkioWeight CpuPeriod CpuQuota CpusetCpus CpusetMems MemoryReservation "
    "MemorySwap PidsLimit RestartPolicy CpuRealtimePeriod CpuRealtimeRuntime"
)
_UPDATABLE = frozenset(name.lower() for name in _UPDATE_FIELDS.split())


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may be made."""


@dataclass(frozen=True, slots=True)
class Refused:
    """`keys` are the requirements that are not met; `message` is one line for `docker run`.

    `tenant` is that of the network which the call concerns, empty when that is not known.
    """

    keys: tuple[str, ...]
    message: str
    tenant: str = ""


Decision = Admitted | Refused
ADMITTED = Admitted()


def unclear(error: UnclearBody | ValueError, what: str) -> Refused:
    """A call that could be read in two ways."""
    return Refused(("unclear",), f"egress: {what} refused: {error}")


def decide_container(spec: ContainerSpec, facts: Facts) -> Decision:
    """A container that is to be created or started. Raises `UnclearBody`."""
    for reference, flag in spec.joined_containers().items():
        joined = facts.containers.get(reference)
        theirs = None if joined is None else network_of_container(joined, facts)
        if theirs is not None:
            return Refused(
                ("join",),
                f"egress: refused: {flag}: that container is on an appliance network and shares nothing",
                theirs.tenant,
            )
    network = asked_network(spec.network_references(), facts)
    if network is None:
        return ADMITTED
    asked = Asked(spec, network, facts)
    problems = [(requirement, text) for requirement in REQUIREMENTS if (text := requirement.problem(asked))]
    if not problems:
        return ADMITTED
    needed = ", ".join(text for requirement, text in problems if requirement.needed)
    refused = ", ".join(text for requirement, text in problems if not requirement.needed)
    parts = [f"needs {needed}"] if needed else []
    parts += [f"may not have {refused}"] if refused else []
    return Refused(
        tuple(requirement.key for requirement, _ in problems),
        f"egress: container on network {network.name} {' and '.join(parts)} "
        f"(or use: egress run --tenant {network.tenant})",
        network.tenant,
    )


def exec_asked(container: str, body: Struct) -> ExecFact:
    """The process that a create call asks for. Raises `UnclearBody`."""
    return ExecFact(container, body.flag("Privileged"), body.text("User"))


def decide_exec(process: ExecFact, container: Mapping[str, Any], facts: Facts) -> Decision:
    """`docker exec` into a container. Raises `UnclearBody`."""
    network = network_of_container(container, facts)
    if network is None:
        return ADMITTED
    if process.privileged:
        return Refused(
            ("exec-privileged",),
            f"egress: exec on network {network.name} may not have --privileged",
            network.tenant,
        )
    # An empty user is the container's own, which was judged when it was created.
    if process.user and numeric_user(process.user) is None:
        return Refused(
            ("exec-user",),
            f"egress: exec on network {network.name} needs no --user, or --user 1000:1000 (uid and gid in "
            f"numbers, neither 0)",
            network.tenant,
        )
    return ADMITTED


def decide_update(body: Struct, container: Mapping[str, Any], facts: Facts) -> Decision:
    """`docker update` of a container. Raises `UnclearBody`.

    Docker Engine API: PidsLimit 0 or -1 lifts the limit, null leaves it; 0 leaves every other value.
    """
    network = network_of_container(container, facts)
    if network is None:
        return ADMITTED
    problems = [
        f"a change of {name}" for name, value in body if name.lower() not in _UPDATABLE and is_set(value)
    ]
    if body.integer("Memory") < 0:
        problems.append("--memory -1")
    if body.integer("MemorySwap") < 0:
        problems.append("--memory-swap -1")
    if body.get("PidsLimit") is not None and body.integer("PidsLimit") <= 0:
        problems.append("--pids-limit 0")
    if not problems:
        return ADMITTED
    return Refused(
        ("update",),
        f"egress: update on network {network.name} may not have {', '.join(problems)}",
        network.tenant,
    )


def decide_connect(
    reference: str, container: str, document: Mapping[str, Any] | None, facts: Facts
) -> Decision:
    """`docker network connect` of a container, with what dockerd says of it. Raises `UnclearBody`."""
    network = asked_network((reference,), facts)
    if network is not None:
        return Refused(
            ("connect",),
            f"egress: network connect to {network.name} refused: start the container with "
            f"--network {network.name} instead",
            network.tenant,
        )
    if document is None:
        return decide_unknown("network connect", container, facts)
    own = network_of_container(document, facts)
    if own is not None:
        return Refused(
            ("second-network",),
            f"egress: network connect refused: the container is on network {own.name}, which may be its only "
            f"one",
            own.tenant,
        )
    return ADMITTED


def decide_unknown(what: str, reference: str, facts: Facts) -> Decision:
    """A call for a container that is not there now: when dockerd looks for it, the name may be another's.

    Where no network is ours nothing can come of that, and dockerd answers (404, no such container).
    """
    if not any(facts.is_ours(network) for network in facts.networks):
        return ADMITTED
    return Refused(
        ("unknown-container",),
        f"egress: {what} refused: no such container: {reference[:60]!r}; create it first",
    )


def decide_network(body: Struct, driver: str) -> Decision:
    """`docker network create`. Raises `UnclearBody`.

    What is asked of our driver by its name, the driver judges itself (`netns.driver.network_request`).
    """
    name = body.text("Driver")
    if name in {"", driver}:
        return ADMITTED
    if may_name(name, driver):
        why = f"driver {name[:60]!r} may be {driver} under another name; write -d {driver}"
    elif not is_plain(name):
        why = (
            f"driver {name[:60]!r} would lead dockerd to a plugin of another name; write -d NAME, of "
            "letters, digits and . _ : - / with no empty or dot segment"
        )
    else:
        return ADMITTED
    return Refused(("driver-name",), f"egress: network create refused: {why}")


def decide_references(what: str, references: Iterable[str], facts: Facts) -> Decision:
    """A build or a service that names networks (or a container to join): none may be ours."""
    for reference in references:
        joined = facts.containers.get(reference.removeprefix(JOIN)) if reference.startswith(JOIN) else None
        network = (
            network_of_container(joined, facts) if joined is not None else asked_network((reference,), facts)
        )
        if network is not None:
            return Refused(
                (what,),
                f"egress: {what} on network {network.name} refused: it runs containers as root",
                network.tenant,
            )
    return ADMITTED


def service_networks(body: Struct) -> tuple[str, ...]:
    """Networks that a swarm service names. Raises `UnclearBody`."""
    task = body.struct("TaskTemplate")
    lists = (*body.structs("Networks"), *(task.structs("Networks") if task else ()))
    return tuple(entry.text("Target") for entry in lists)


def network_of_container(document: Mapping[str, Any], facts: Facts) -> NetworkFact | None:
    """The appliance network that a container is on or was made for. Raises `UnclearBody`."""
    return asked_network(of_engine(document).network_references(), facts)


def asked_network(references: Iterable[str], facts: Facts) -> NetworkFact | None:
    """The first appliance network among those that a container refers to."""
    for reference in references:
        if reference in BUILT_IN:
            continue
        for network in networks_named(reference, facts.networks):
            if facts.is_ours(network):
                return network
    return None
