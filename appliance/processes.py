"""Which processes make an appliance, as data: who runs what, as which uid, where, with which sockets.

The launcher, the supervisor and `egress doctor` read this table; none repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.settings import Settings

FIRST_WORKER_PORT = 15001
RESOLVER_PORT = 53
SQUID_PORT = 15101
BUNDLE_PORT = 15102
CHAINED_PORT = 15103
"""Where Squid is asked for addresses by the gateway (mode `chained`), on loopback."""
HEARTBEAT_PORT = 15104
"""Where Squid is asked by its own process whether it answers, on loopback."""
PROXY_PORT = 3128
"""Where a container asks for a proxy by name, at its network's gateway address (`images/entrypoint`)."""

SQUID = "squid"
SUPERVISOR = "supervisor"


class SocketKind(Enum):
    """How the launcher opens a listening socket."""

    TPROXY_TCP = "tproxy-tcp"  # IP_TRANSPARENT, any destination address, inside the gateway namespace
    TPROXY_UDP = "tproxy-udp"  # the same with IP_PKTINFO, so that answers leave from the asked address
    UNIX = "unix"  # a control socket below the run directory


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket that a process inherits under `name` (as in systemd's LISTEN_FDNAMES)."""

    name: str
    kind: SocketKind
    port: int = 0
    path: Path | None = None
    mode: int = 0o600
    group: int | None = None  # of a Unix socket; absent, the gid of its owner's uid


@dataclass(frozen=True, slots=True)
class Process:
    """One long-running process of the appliance.

    `uid` 0 is root with only `capabilities`; every other uid has no capability at all. Who carries no
    traffic is served behind those who do, and still before workloads (see `privilege.take_precedence`).
    One that is `without_network` is in a network namespace of its own, with nothing in it.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    uid: int
    in_gateway_namespace: bool
    capabilities: tuple[str, ...]
    listeners: tuple[Listener, ...]
    carries_traffic: bool = True
    without_network: bool = False


def _control(settings: Settings, name: str, *, shared: bool = False) -> Listener:
    """For root and the process itself; when `shared`, for the appliance's other processes too."""
    mode, group = (0o660, settings.uids.group) if shared else (0o600, None)
    return Listener("control", SocketKind.UNIX, path=settings.control_socket(name), mode=mode, group=group)


def processes(settings: Settings) -> tuple[Process, ...]:
    """Every process of the instance, in the order in which they start (and the reverse of the stop order)."""
    uids, callers = settings.uids, settings.callers.group
    broker = Process(
        "broker", "appliance.broker.main", (), uids.broker,
        in_gateway_namespace=False, capabilities=(),
        listeners=(
            _control(settings, "broker", shared=True),
            Listener("calls", SocketKind.UNIX, path=settings.calls_socket, mode=0o660, group=uids.gateway),
            Listener("dials", SocketKind.UNIX, path=settings.dials_socket, mode=0o660, group=uids.gateway),
            Listener(
                "workloads", SocketKind.UNIX, path=settings.workloads_socket, mode=0o660, group=uids.gateway
            ),
            Listener(
                "callers", SocketKind.UNIX, path=settings.callers_socket,
                mode=0o600 if callers is None else 0o660, group=callers,
            ),
        ),
        without_network=not settings.vault.is_remote,
    )  # fmt: skip
    netd = Process(
        "netd", "netns.main", (), 0,
        in_gateway_namespace=False,
        capabilities=("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"),
        listeners=(_control(settings, "netd", shared=True),), carries_traffic=False,
    )  # fmt: skip
    resolver = Process(
        "resolver", "appliance.resolver.main", (), uids.resolver,
        in_gateway_namespace=True, capabilities=(),
        listeners=(
            Listener("dns-udp", SocketKind.TPROXY_UDP, port=RESOLVER_PORT),
            Listener("dns-tcp", SocketKind.TPROXY_TCP, port=RESOLVER_PORT),
            _control(settings, "resolver", shared=True),
        ),
    )  # fmt: skip
    workers = tuple(
        Process(
            name, "appliance.gateway.main", ("--worker", str(index)), uids.gateway,
            in_gateway_namespace=True, capabilities=(),
            listeners=(
                Listener("tenants", SocketKind.TPROXY_TCP, port=FIRST_WORKER_PORT + index),
                _control(settings, name),
            ),
        )
        for index, name in enumerate(worker_names(settings))
    )  # fmt: skip
    # Squid opens its own port, for it takes none from a launcher; what hands out the root is ours.
    squid = Process(
        SQUID, "squid.main", (), uids.squid,
        in_gateway_namespace=True, capabilities=(),
        listeners=(
            Listener("bundle", SocketKind.TPROXY_TCP, port=BUNDLE_PORT),
            _control(settings, SQUID),
        ),
    )  # fmt: skip
    return (broker, netd, resolver, *workers, *([squid] if settings.has_fallback else ()))


def worker_names(settings: Settings) -> tuple[str, ...]:
    """The gateway's workers in the order of their ports."""
    return tuple(f"gateway-{index}" for index in range(settings.workers))
