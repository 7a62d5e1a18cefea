"""May this network exist, and is it ours? Pure: from Docker's words to a `Network`, a refusal, yes or no."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError

from appliance.workload import TENANT_NAME, TENANT_NAME_MEND
from netns.driver import messages
from netns.driver.facts import NetworkFact
from netns.driver.refusal import DriverRefused
from netns.plumbing import Network

TENANT_OPTION = "tenant"
# RFC 1918 and RFC 6598: a pool of any other kind would shadow addresses that mean something else.
PRIVATE = tuple(IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))


# Every character of a plugin's name and of a reference with registry, port, path and tag.
_DRIVER_NAME = re.compile(r"[A-Za-z0-9_.:-]+(?:/[A-Za-z0-9_.:-]+)*")
_TAG = re.compile(r":[^/]*\Z")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a new network must not collide with.

    `tenants` are the names with a policy document; `taken` are the appliance's networks; `uplink` is the
    gateway's own link; `servers` are addresses that the gateway itself must be able to reach.
    """

    driver: str
    tenants: Collection[str]
    tenants_dir: str
    taken: Iterable[Network]
    uplink: IPv4Network
    servers: Iterable[IPv4Address]


def without_tag(name: str) -> str:
    """A plugin's name as Docker lists it, without the tag of a managed plugin."""
    return _TAG.sub("", name)


def is_plain(name: str) -> bool:
    """Whether a driver's name leads dockerd to the plugin of that name and to no other.

    moby `pkg/plugins/discovery.go`: a plugin's socket is `filepath.Join(directory, name+".sock")`, cleaned,
    or named by a `.spec` or `.json` found in the same way. So `./x` and `../plugins/x` are `x` under another
    name, and `../../../tmp/x` is whatever a file there says. The name as given stays the network's driver.
    """
    return _DRIVER_NAME.fullmatch(name) is not None and {".", ".."}.isdisjoint(name.split("/"))


def may_name(name: str, driver: str) -> bool:
    """Whether dockerd may have found `driver` by this name: its own, or a path that ends in it."""
    folders, _, last = without_tag(name).rpartition("/")
    return last.lower() == driver and not (folders and is_plain(name))


def is_ours(network: NetworkFact, driver: str, accepted: Collection[str]) -> bool:
    """Whether a network is of our driver: its id is among those `accepted`, or its driver's name may be ours.

    Not by the name alone: a link or a specification of the operator's may give the driver any other.
    """
    return network.id in accepted or may_name(network.driver, driver)


def network_of(message: messages.CreateNetwork, around: Surroundings) -> Network:
    """The network that Docker asks for. Raises `DriverRefused`."""
    tenant = _tenant(message, around)
    if message.Options.get(messages.ENABLE_IPV6) or message.IPv6Data:
        raise DriverRefused("egress: IPv6 pools are not served; create the network without --ipv6")
    if message.Options.get(messages.INTERNAL):
        raise DriverRefused("egress: leave out --internal; nothing but the gateway is reachable anyway")
    pool, gateway = _pool(message)
    if not any(pool.subnet_of(block) for block in PRIVATE):
        raise DriverRefused(
            f"egress: pool {pool} is not private; choose --subnet inside 10.0.0.0/8, 172.16.0.0/12, "
            f"192.168.0.0/16 or 100.64.0.0/10"
        )
    if pool.overlaps(around.uplink):
        raise DriverRefused(
            f"egress: pool {pool} overlaps the gateway's uplink {around.uplink}; choose another --subnet"
        )
    for server in around.servers:
        if server in pool:
            raise DriverRefused(
                f"egress: pool {pool} contains {server}, which the gateway itself has to reach; "
                "choose another --subnet"
            )
    for other in around.taken:
        if other.id != message.NetworkID and other.pool.overlaps(pool):
            raise DriverRefused(
                f"egress: pool {pool} overlaps {other.pool} of tenant {other.tenant}; choose another --subnet"
            )
    return Network(message.NetworkID, tenant, pool, gateway)


def _tenant(message: messages.CreateNetwork, around: Surroundings) -> str:
    options = message.Options.get(messages.GENERIC_OPTIONS) or {}
    if not isinstance(options, dict):
        raise DriverRefused("egress: network options are no map; write --opt tenant=NAME")
    for name in options:
        if name != TENANT_OPTION:
            raise DriverRefused(
                f"egress: unknown network option {name!r}; the only one is --opt {TENANT_OPTION}=NAME"
            )
    tenant = options.get(TENANT_OPTION)
    if not isinstance(tenant, str) or not tenant:
        raise DriverRefused(f"egress: the network needs a tenant; add --opt {TENANT_OPTION}=NAME")
    if not TENANT_NAME.fullmatch(tenant):
        raise DriverRefused(f"egress: {tenant!r} is no tenant name; {TENANT_NAME_MEND}")
    if tenant not in around.tenants:
        raise DriverRefused(
            f"egress: there is no tenant {tenant!r} in {around.tenants_dir}; run: egress tenant add {tenant}"
        )
    return tenant


def _pool(message: messages.CreateNetwork) -> tuple[IPv4Network, IPv4Address]:
    if len(message.IPv4Data) != 1:
        raise DriverRefused(
            f"egress: the network needs exactly one IPv4 pool, not {len(message.IPv4Data)}; give one --subnet"
        )
    data = message.IPv4Data[0]
    try:
        pool = IPv4Network(data.Pool)
        gateway = IPv4Interface(data.Gateway).ip
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise DriverRefused(
            f"egress: pool {data.Pool!r} with gateway {data.Gateway!r} is not usable: {error}; "
            f"leave out --gateway and --ipam-driver"
        ) from error
    if gateway not in pool or gateway in (pool.network_address, pool.broadcast_address):
        raise DriverRefused(f"egress: gateway {gateway} is no host address of {pool}; leave out --gateway")
    return pool, gateway
