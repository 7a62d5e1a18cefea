"""What the host's namespace gets when the uplink ends there: an nft table, two of Docker's rules (pure).

The table is ours alone. Docker drops what it does not know in its FORWARD chain and offers the chain
DOCKER-USER for exactly this; our two rules there carry a comment, by which they are found and removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

BEFORE_FILTER = -10  # before other tables of the host's filter hooks: what is dropped here stays dropped


@dataclass(frozen=True, slots=True)
class HostRules:
    """`peer` is the uplink's end on the host, `source` the gateway's address, `pools` the tenants' ranges."""

    table: str
    peer: str
    source: IPv4Address
    pools: tuple[IPv4Network, ...] = ()
    name_servers: tuple[tuple[IPv4Address, int], ...] = ()
    proxy: tuple[IPv4Address, int] | None = None


def table_name(instance: str) -> str:
    """Name of the host's table of an instance."""
    return f"{instance}_host"


def render(rules: HostRules) -> str:
    """One atomic replacement of the host's table."""
    name = f"table ip {rules.table}"
    uplink = f'iifname "{rules.peer}"'
    return "\n".join(
        [
            name,
            f"delete {name}",
            f"{name} {{",
            *_set("pools", "ipv4_addr", map(str, sorted(rules.pools)), interval=True),
            *_set("name_servers", "ipv4_addr . inet_service", (f"{a} . {p}" for a, p in rules.name_servers)),
            "chain postrouting {",
            "type nat hook postrouting priority srcnat",
            "policy accept",
            f'ip saddr {rules.source} oifname != "{rules.peer}" masquerade',
            "}",
            # Tenants' addresses exist behind the uplink only and never leave it.
            "chain input {",
            f"type filter hook input priority {BEFORE_FILTER}",
            "policy accept",
            "ip saddr @pools drop",
            f"{uplink} ct state established,related accept",
            f"{uplink} ip daddr . udp dport @name_servers accept",
            f"{uplink} ip daddr . tcp dport @name_servers accept",
            *_to_proxy(rules),
            f"{uplink} drop",
            "}",
            "chain forward {",
            f"type filter hook forward priority {BEFORE_FILTER}",
            "policy accept",
            # A port published on an address of this host's: what `input` refuses the gateway must not come
            # to it by another's address translation.
            f"{uplink} ct status dnat drop",
            "ip saddr @pools drop",
            f"{uplink} ip saddr != {rules.source} drop",
            # Not `ct state != established,related`: nft compares that with both bits at once.
            f'oifname "{rules.peer}" ct state established,related accept',
            f'oifname "{rules.peer}" drop',
            "}",
            "}",
            "",
        ]
    )


def _to_proxy(rules: HostRules) -> list[str]:
    """The proxy of the uplink may run on this host; the gateway's own table lets nobody but it through."""
    if rules.proxy is None:
        return []
    address, port = rules.proxy
    return [f'iifname "{rules.peer}" ip daddr {address} tcp dport {port} accept']


def _set(name: str, kind: str, elements: Iterable[str], *, interval: bool = False) -> list[str]:
    listed = ", ".join(elements)
    lines = [f"set {name} {{", f"type {kind}"]
    lines += ["flags interval"] if interval else []
    lines += [f"elements = {{ {listed} }}"] if listed else []
    return [*lines, "}"]


def docker_user_rules(instance: str, peer: str) -> tuple[tuple[str, ...], ...]:
    """Rule specifications for DOCKER-USER, as `iptables` takes them after `-I DOCKER-USER`."""
    tag = ("-m", "comment", "--comment", f"egress-appliance:{instance}")
    return (
        ("-i", peer, *tag, "-j", "ACCEPT"),
        ("-o", peer, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *tag, "-j", "ACCEPT"),
    )
