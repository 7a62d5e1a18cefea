"""What should be in the kernel, computed from settings, policy and the links that exist (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from appliance.addresses import blocked_networks_v4
from appliance.links import TENANT_BIT, link_mark
from appliance.processes import FIRST_WORKER_PORT, RESOLVER_PORT
from appliance.settings import Settings
from netns import hostrules, ruleset
from netns.naming import uplink_peer
from netns.plumbing import Attachment, Network
from netns.ruleset import Counts, Ruleset
from netns.shares import UNSTEERED, Steering
from netns.state import MAIN_TABLE, Desired, Neighbour, Route, RouteKind, RoutingRule, Table, Uplink

TENANT_TABLE = 100
_RULES = (
    # Answers bear the mark of the connection that they belong to, and go to the container all the same.
    RoutingRule(100, MAIN_TABLE, arriving="lo"),
    RoutingRule(101, TENANT_TABLE, TENANT_BIT, TENANT_BIT),
)
_DEFAULT = IPv4Network("0.0.0.0/0")

# A new namespace copies these from the host (net.core.devconf_inherit_init_net), so each is set, not assumed.
# Writing ip_forward resets others (kernel, ip-sysctl.rst): it comes first.
_GATEWAY_SYSCTLS = (
    ("net/ipv4/ip_forward", "0"),
    *(
        (f"net/ipv4/conf/{scope}/{key}", value)
        for scope in ("all", "default")
        for key, value in (
            ("accept_redirects", "0"),
            ("send_redirects", "0"),
            ("accept_source_route", "0"),
            ("accept_local", "0"),
            ("route_localnet", "0"),
            ("proxy_arp", "0"),
            ("arp_ignore", "0"),  # AnyIP: a tenant's ARP for any address of its pool is answered
            ("src_valid_mark", "0"),
        )
    ),
    ("net/ipv4/conf/all/rp_filter", "0"),  # the stricter of `all` and the link's own holds (RFC 3704)
    ("net/ipv4/conf/default/rp_filter", "1"),
    ("net/ipv4/icmp_echo_ignore_all", "1"),
    ("net/ipv4/ip_nonlocal_bind", "0"),
    ("net/ipv4/tcp_fwmark_accept", "1"),  # see appliance.links
    ("net/ipv4/fwmark_reflect", "0"),
    ("net/ipv4/tcp_syncookies", "1"),
    # A router with a private address is refused as a sender (see `special_routes`), and with it what it says
    # of the path's packet size: TCP finds that by itself where packets vanish (RFC 4821).
    ("net/ipv4/tcp_mtu_probing", "1"),
    ("net/ipv4/ip_local_port_range", "16384 65535"),
    ("net/core/somaxconn", "4096"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted beside the settings; `links` are (attachment, gateway's interface)."""

    networks: tuple[Network, ...] = ()
    links: tuple[tuple[Attachment, str], ...] = ()
    exceptions: tuple[tuple[IPv4Network, int], ...] = ()
    name_servers: tuple[tuple[IPv4Address, int], ...] = ()
    steering: Steering = UNSTEERED


Canonical = Callable[[str, str, str], str]
"""(family, table name, text) → how nft lists that text back."""


def gateway_ruleset(settings: Settings, wanted: Wanted) -> Ruleset:
    """The gateway namespace's table as data."""
    uids = settings.uids
    return Ruleset(
        table=settings.instance,
        uplink=settings.uplink_interface,
        uplink_address=settings.uplink.address.ip,
        worker_ports=tuple(FIRST_WORKER_PORT + index for index in range(settings.workers)),
        resolver_port=RESOLVER_PORT,
        gateway_uid=uids.gateway,
        resolver_uid=uids.resolver,
        outbound_uids=(
            *(() if settings.uplink.chained else (uids.gateway,)),
            uids.broker,
            *((uids.squid,) if settings.has_fallback else ()),
        ),
        special=blocked_networks_v4(),
        networks=wanted.networks,
        links=tuple((interface, a.address, link_mark(a.endpoint)) for a, interface in wanted.links),
        exceptions=collapsed(openings(settings, wanted)),
        name_servers=wanted.name_servers,
        question_rate=2 * settings.resolver.queries_per_second,
        proxied=settings.uplink.proxy is not None,
        squid_uid=uids.squid if settings.has_fallback else None,
        chained=settings.uplink.chained,
        steering=wanted.steering,
    )


def openings(settings: Settings, wanted: Wanted) -> tuple[tuple[IPv4Network, int], ...]:
    """What the gateway may open that is not public: the operator's exceptions, or the proxy and nothing else.

    With a proxy it is the proxy that opens an excepted address; the gateway judges whether it asks for that.
    """
    proxy = settings.uplink.proxy
    return wanted.exceptions if proxy is None else ((IPv4Network(proxy.address), proxy.port),)


def host_rules(settings: Settings, wanted: Wanted) -> hostrules.HostRules:
    """The host's table as data."""
    return hostrules.HostRules(
        table=hostrules.table_name(settings.instance),
        peer=uplink_peer(settings.instance),
        source=settings.uplink.address.ip,
        pools=tuple(network.pool for network in wanted.networks),
        name_servers=wanted.name_servers,
        proxy=None if (proxy := settings.uplink.proxy) is None else (proxy.address, proxy.port),
    )


def plan(settings: Settings, wanted: Wanted, canonical: Canonical, counts: Counts | None = None) -> Desired:
    """All that should be there; `canonical` asks nft, `counts` are what the counters stand at."""
    uplink, inner = settings.uplink, settings.uplink_interface
    outer = uplink_peer(settings.instance)
    on_host = uplink.peer_namespace is None
    host_table = hostrules.render(host_rules(settings, wanted)) if on_host else None
    rules = gateway_ruleset(settings, wanted)
    outer_link = (
        (f"net/ipv6/conf/{outer}/disable_ipv6", "1"),
        # A socket bound to the uplink takes what has no route for a neighbour: only the peer itself answers.
        (f"net/ipv4/conf/{outer}/arp_ignore", "1"),
        (f"net/ipv4/conf/{outer}/proxy_arp", "0"),
    )
    return Desired(
        namespace=settings.namespace,
        uplink=Uplink(inner, outer, uplink_alias(settings)),
        inner_address=uplink.address,
        outer_address=IPv4Interface((uplink.peer, uplink.address.network.prefixlen)),
        inner_sysctls=_GATEWAY_SYSCTLS,
        outer_sysctls=(("net/ipv4/ip_forward", "1"), *outer_link) if on_host else outer_link,
        routes=tuple(_routes(settings, wanted)),
        rules=_RULES,
        neighbours=tuple(Neighbour(i, a.address, a.mac) for a, i in wanted.links if a.mac),
        links=tuple(interface for _, interface in wanted.links),
        inner_table=Table(
            "inet",
            rules.table,
            ruleset.render(rules, counts),
            canonical("inet", rules.table, ruleset.render(rules)),
        ),
        outer_table=None
        if host_table is None
        else Table(
            "ip",
            hostrules.table_name(settings.instance),
            host_table,
            canonical("ip", hostrules.table_name(settings.instance), host_table),
        ),
        docker_user=hostrules.docker_user_rules(settings.instance, outer) if on_host else (),
    )


def uplink_alias(settings: Settings) -> str:
    """What marks the uplink's outer end as this instance's."""
    return f"egress1 uplink instance={settings.instance}"


def _routes(settings: Settings, wanted: Wanted) -> Sequence[Route]:
    return [
        # TPROXY: a marked packet is for this machine, whatever its destination says.
        Route(_DEFAULT, "lo", RouteKind.LOCAL, table=TENANT_TABLE),
        # AnyIP: every address of a pool is ours, a neighbour's too, except on the way to that neighbour.
        *(Route(network.pool, "lo", RouteKind.LOCAL) for network in wanted.networks),
        *(Route(IPv4Network(a.address), interface) for a, interface in wanted.links),
        *special_routes(settings, wanted),
        Route(_DEFAULT, settings.uplink_interface, via=settings.uplink.peer),
    ]


def special_routes(settings: Settings, wanted: Wanted) -> list[Route]:
    """What holds without any nft table: no route to a range that is not public, but to what is let through.

    From the same address table as the nft set `special`. A pool's own route, being longer, or as long and
    first, stays as it is; so does the uplink's.
    """
    ours = [settings.uplink.address.network, *(network.pool for network in wanted.networks)]
    special = blocked_networks_v4()
    asked = {network for network, _port in openings(settings, wanted)} | {
        IPv4Network(a) for a, _ in wanted.name_servers
    }
    through = sorted(
        network
        for network in asked
        if any(network.subnet_of(block) for block in special)
        and not any(network.subnet_of(own) for own in ours)
    )
    closed = [b for b in special if not any(b.subnet_of(x) for x in (*through, *ours))]
    return [
        *(Route(block, "", RouteKind.UNREACHABLE) for block in closed),
        *(Route(network, settings.uplink_interface, via=settings.uplink.peer) for network in through),
    ]


def collapsed(exceptions: Sequence[tuple[IPv4Network, int]]) -> tuple[tuple[IPv4Network, int], ...]:
    """Without those that another of the same port contains: nft refuses overlapping intervals."""
    return tuple(
        sorted(
            {
                (network, port)
                for network, port in exceptions
                if not any(
                    port == other_port and network != other and network.subnet_of(other)
                    for other, other_port in exceptions
                )
            }
        )
    )
