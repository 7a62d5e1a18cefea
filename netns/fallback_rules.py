"""The part of the gateway namespace's table that is about Squid, as text (pure; see `netns.ruleset`).

No connection is tracked: a packet to a network's gateway address and proxy port gets Squid's own address and
port, and one of Squid's gets the gateway's back. `proxies` and `proxy_of` are each pool with its gateway
address; `answered` is `endpoints` as a set, so that what Squid sends by a link is of a connection that came
in by that link; `proxying` remembers which connections Squid has, for when their share is given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from appliance.processes import BUNDLE_PORT, CHAINED_PORT, PROXY_PORT, SQUID_PORT
from netns.plumbing import Network

HELPERS = "ip saddr 127.0.0.1 ip daddr 127.0.0.1 meta l4proto tcp"
"""Squid speaks to its external acl programs over TCP of its own."""


def chained(gateway_uid: int) -> list[str]:
    """What lets the gateway ask Squid for addresses (mode `chained`), and both close what was opened."""
    return [
        f'oifname "lo" meta skuid {gateway_uid} {HELPERS} tcp dport {CHAINED_PORT} accept',
        # A closing connection has no owner any more.
        f'oifname "lo" {HELPERS} tcp dport {CHAINED_PORT} tcp flags & (syn | ack) != syn accept',
        f'oifname "lo" {HELPERS} tcp sport {CHAINED_PORT} tcp flags & (syn | ack) != syn accept',
    ]


_ASKED = "ip saddr . ip daddr @proxies"
FINDS_NO_WORKER = f"{_ASKED} tcp dport {PROXY_PORT} goto as-proxy"


def answered(interface: str, address: IPv4Address, mark: int) -> str:
    """A container's element of the set `answered`."""
    return f'"{interface}" . {address} . {mark:#010x}'


def sets(networks: Iterable[Network], links: Iterable[tuple[str, IPv4Address, int]]) -> list[str]:
    """`answered`, `proxies`, `proxy_of` and `proxying`."""
    ordered = sorted(networks, key=lambda n: n.pool)
    return [
        "set answered {",
        "type ifname . ipv4_addr . mark",
        *_elements(answered(*link) for link in sorted(links)),
        "}",
        "set proxies {",
        "type ipv4_addr . ipv4_addr",
        "flags interval",
        *_elements(f"{n.pool} . {n.gateway}" for n in ordered),
        "}",
        "map proxy_of {",
        "type ipv4_addr : ipv4_addr",
        "flags interval",
        *_elements(f"{n.pool} : {n.gateway}" for n in ordered),
        "}",
        "set proxying {",
        "type ipv4_addr . inet_service",
        "size 65536",
        "flags dynamic,timeout",
        "timeout 1m",
        "}",
    ]


def _elements(items: Iterable[str]) -> list[str]:
    listed = ", ".join(items)
    return [f"elements = {{ {listed} }}"] if listed else []


def not_by_address(squid: IPv4Address) -> str:
    """Nobody asks for Squid's own address and port, at any time: answers from there are taken for Squid's."""
    return f"ip daddr {squid} tcp dport {SQUID_PORT} counter name not-for-fallback drop"


def steering_chains(squid: IPv4Address) -> list[str]:
    """Where a worker's chain leads when its share is Squid's, or just was; `squid` is its address."""
    return [
        # A container's own gateway address: as a proxy, and for the root that it trusts. Nothing else.
        "chain to-squid {",
        FINDS_NO_WORKER,
        f"{_ASKED} tcp dport 80 tproxy ip to :{BUNDLE_PORT} accept",
        "counter name not-for-fallback drop",
        "}",
        "chain as-proxy {",
        "update @proxying { ip saddr . tcp sport }",
        f"ip daddr set {squid} tcp dport set {SQUID_PORT} accept",
        "}",
        # A share that was given back: what Squid has goes on, what begins is the worker's.
        "chain drain {",
        "tcp flags & (fin | syn | rst | ack) == syn delete @proxying { ip saddr . tcp sport }",
        f"{_ASKED} tcp dport {PROXY_PORT} ip saddr . tcp sport @proxying goto as-proxy",
        "}",
    ]


def answering_chain() -> list[str]:
    """What Squid sends to containers."""
    as_gateway = f"ip saddr set ip daddr map @proxy_of tcp sport set {PROXY_PORT} accept"
    return [
        "chain leave-as-proxy {",
        # The mark is that of the connection (`appliance.links`): what an earlier holder of the address was to
        # get goes nowhere.
        f"oifname . ip daddr . meta mark @answered tcp flags & (syn | ack) != syn {as_gateway}",
        # Of no connection: "you have none here", for one that was a worker's. A SYN that finds no Squid gets
        # no answer and is sent again, as one that finds no worker.
        f"meta mark 0 tcp flags & (rst | ack) == rst {as_gateway}",
        "counter name stale-answers drop",
        "}",
    ]


def leads_to_answering(squid: IPv4Address) -> str:
    """The rule that finds what Squid sends to containers."""
    return f"ip saddr {squid} tcp sport {SQUID_PORT} goto leave-as-proxy"
