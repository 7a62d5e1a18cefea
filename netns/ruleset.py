"""The nft table of the gateway namespace as text, one statement a line (nft 1.0.6 wants it so; pure).

What each chain is for stands in front of it. Sets: `endpoints` (link × source address of each container, with
the mark of `appliance.links`; the only thing that changes when one comes or goes), `opening` and `asking`
(rates of new connections and of DNS datagrams by source address), `networks` (pools, with what
`netns.naming.comment` writes), `special` (every range that is not public), `exceptions` and `name_servers`
(the two ways into it). What is about the fallback is in
`netns.fallback_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from appliance.links import TENANT_BIT
from appliance.policy.limits import KERNEL_CONNECTION_RATE
from netns import fallback_rules
from netns.naming import comment
from netns.plumbing import Network
from netns.shares import UNSTEERED, Steering

WORKER_SEED = 0x65677265  # fixed: a container stays on its worker when the table is replaced
CONNECTION_BURST = 2 * KERNEL_CONNECTION_RATE
BEFORE_DEFRAGMENTATION = -450  # NF_IP_PRI_CONNTRACK_DEFRAG is -400: later, no fragment is left to be seen

COUNTERS = (
    "fragments", "options", "unknown-link", "not-ipv4", "spoofed", "broadcasts", "connections-too-fast",
    "questions-too-fast", "resolver-absent", "worker-absent", "udp-dropped", "icmp-dropped",
    "protocols-dropped", "input-dropped", "forward-dropped", "tenant-output",
    "not-for-fallback", "stale-answers",
    "special-output", "uplink-output", "other-output",
)  # fmt: skip

Counts = Mapping[str, tuple[int, int]]
"""Packets and bytes by counter name."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that the table depends on.

    `links` are (interface, source address, mark) of containers, `exceptions` the operator's (range, TCP
    port), `name_servers` the resolver's upstreams (address, port), `outbound_uids` who may open TCP to the
    public, `question_rate` DNS datagrams a second of one container (more than the resolver admits, so that it
    is the one to say so and to record it). `proxied`: the public is reached by a proxy, the one element of
    `exceptions`, and nobody opens anything else. `squid_uid`: the fallback's, None without one. `chained`: by
    it the gateway opens what is public.
    """

    table: str
    uplink: str
    uplink_address: IPv4Address
    worker_ports: tuple[int, ...]
    resolver_port: int
    gateway_uid: int
    resolver_uid: int
    outbound_uids: tuple[int, ...]
    special: tuple[IPv4Network, ...]
    networks: tuple[Network, ...] = ()
    links: tuple[tuple[str, IPv4Address, int], ...] = ()
    exceptions: tuple[tuple[IPv4Network, int], ...] = ()
    name_servers: tuple[tuple[IPv4Address, int], ...] = ()
    question_rate: int = 100
    proxied: bool = False
    squid_uid: int | None = None
    chained: bool = False
    steering: Steering = UNSTEERED


def render(ruleset: Ruleset, counts: Counts | None = None) -> str:
    """One atomic replacement of the table; `counts` keeps what the counters of the old table had reached."""
    name = f"table inet {ruleset.table}"
    lines = [name, f"delete {name}", f"{name} {{"]
    for counter in COUNTERS:
        packets, size = (counts or {}).get(counter, (0, 0))
        lines += [f"counter {counter} {{", f"packets {packets} bytes {size}", "}"]
    lines += _sets(ruleset)
    lines += _tenant_side(ruleset)
    lines += _workers(ruleset)
    lines += _arrival(ruleset)
    lines += _departure(ruleset)
    lines += ["}", ""]
    return "\n".join(lines)


def steer(ruleset: Ruleset) -> str:
    """One transaction that brings a table, which may be of another steering, to this one."""
    table = f"inet {ruleset.table}"
    lines = []
    for index in range(len(ruleset.worker_ports)):
        chain = f"{table} {_worker(index)}"
        lines.append(f"flush chain {chain}")
        lines += [f"add rule {chain} {rule}" for rule in _to_worker(ruleset, index)]
    return "\n".join([*lines, ""])


def elements(
    ruleset: Ruleset, interface: str, address: IPv4Address, mark: int
) -> tuple[tuple[str, str], ...]:
    """A container's elements: name of the set and what stands in it."""
    endpoint = ("endpoints", element(interface, address, mark))
    if ruleset.squid_uid is None:
        return (endpoint,)
    return (endpoint, ("answered", fallback_rules.answered(interface, address, mark)))


def element(interface: str, address: IPv4Address, mark: int) -> str:
    """A container's element of the map `endpoints`."""
    return f'"{interface}" . {address} : {mark:#010x}'


def _set(
    name: str, kind: str, elements: Iterable[str], *, interval: bool = False, keyword: str = "set"
) -> list[str]:
    listed = list(elements)
    lines = [f"{keyword} {name} {{", f"type {kind}"]
    lines += ["flags interval"] if interval else []
    lines += [f"elements = {{ {', '.join(listed)} }}"] if listed else []
    return [*lines, "}"]


def _rates(name: str) -> list[str]:
    """Filled by the rule that counts; an address that was quiet for a minute is forgotten."""
    return [f"set {name} {{", "type ipv4_addr", "size 65536", "flags dynamic,timeout", "timeout 1m", "}"]


def _sets(ruleset: Ruleset) -> list[str]:
    pools = (f'{n.pool} comment "{comment(n)}"' for n in sorted(ruleset.networks, key=lambda n: n.pool))
    return [
        *_set(
            "endpoints",
            "ifname . ipv4_addr : mark",
            (element(*link) for link in sorted(ruleset.links)),
            keyword="map",
        ),
        *_rates("opening"),
        *_rates("asking"),
        *([] if ruleset.squid_uid is None else fallback_rules.sets(ruleset.networks, ruleset.links)),
        *_set("networks", "ipv4_addr", pools, interval=True),
        *_set("special", "ipv4_addr", map(str, ruleset.special), interval=True),
        *_set(
            "exceptions",
            "ipv4_addr . inet_service",
            (f"{network} . {port}" for network, port in sorted(set(ruleset.exceptions))),
            interval=True,
        ),
        *_set(
            "name_servers",
            "ipv4_addr . inet_service",
            (f"{address} . {port}" for address, port in sorted(set(ruleset.name_servers))),
        ),
    ]


def _chain(name: str, hook: str, priority: str, policy: str, rules: Iterable[str]) -> list[str]:
    head = [f"chain {name} {{", f"type filter hook {hook} priority {priority}", f"policy {policy}"]
    return [*head, *rules, "}"]


def _tenant_side(ruleset: Ruleset) -> list[str]:
    count = len(ruleset.worker_ports)
    chains = ", ".join(f"{index} : goto {_worker(index)}" for index in range(count))
    worker = f"jhash ip saddr mod {count} seed {WORKER_SEED:#x} vmap {{ {chains} }}"
    if count == 1:
        worker = f"goto {_worker(0)}"
    opens = "tcp flags & (fin | syn | rst | ack) == syn"
    # A flood of datagrams would fill the resolver's one buffer, and leave others' questions no room in it.
    questions = f"limit rate over {ruleset.question_rate}/second burst {ruleset.question_rate} packets"
    limit = f"limit rate over {KERNEL_CONNECTION_RATE}/second burst {CONNECTION_BURST} packets"
    take = "tproxy ip to"
    return [
        # Fragments carry ports only in their first part; options can carry a source route (RFC 791 §3.1).
        *_chain("shape", "prerouting", str(BEFORE_DEFRAGMENTATION), "accept", [
            f'iifname "{ruleset.uplink}" accept',
            "ip frag-off & 0x3fff != 0 counter name fragments drop",
            "ip hdrlength > 5 counter name options drop",
        ]),
        # No conntrack entry is ever made for a tenant's packet: there is no table that a tenant can fill.
        *_chain("untracked", "prerouting", "raw", "accept", [f'iifname != "{ruleset.uplink}" notrack']),
        *_chain("untracked-replies", "output", "raw", "accept", [f'oifname != "{ruleset.uplink}" notrack']),
        # Every packet of a tenant ends here: at the resolver, at a worker, or nowhere.
        *_chain("steer", "prerouting", "mangle", "drop", [
            f'iifname "{ruleset.uplink}" accept',
            *([f'iifname "lo" {fallback_rules.HELPERS} accept'] if ruleset.squid_uid is not None else ()),
            'iifname != "t-*" counter name unknown-link drop',
            "meta nfproto != ipv4 counter name not-ipv4 drop",
            # A sender's own mark counts for nothing; a pair that is not in the map leaves none.
            "meta mark set 0",
            "meta mark set iifname . ip saddr map @endpoints",
            "meta mark 0 counter name spoofed drop",
            "fib daddr type { broadcast, multicast, anycast } counter name broadcasts drop",
            f"{opens} update @opening {{ ip saddr {limit} }} counter name connections-too-fast drop",
            f"tcp dport 53 {take} :{ruleset.resolver_port} accept",
            f"udp dport 53 update @asking {{ ip saddr {questions} }} counter name questions-too-fast drop",
            f"udp dport 53 {take} :{ruleset.resolver_port} accept",
            # `tproxy` without a listening socket goes on to the next rule: a dead process's share is dropped.
            "meta l4proto { tcp, udp } th dport 53 counter name resolver-absent drop",
            *([] if ruleset.squid_uid is None else [fallback_rules.not_by_address(ruleset.uplink_address)]),
            f"meta l4proto tcp {worker}",
            "meta l4proto udp counter name udp-dropped drop",
            "meta l4proto icmp counter name icmp-dropped drop",
            "counter name protocols-dropped drop",
        ]),
    ]  # fmt: skip


def _worker(index: int) -> str:
    return f"worker-{index}"


def _to_worker(ruleset: Ruleset, index: int) -> list[str]:
    """What becomes of TCP of one worker's share: all that a change of steering changes."""
    if index in ruleset.steering.fallen:
        return ["goto to-squid"]
    return [
        *(["jump drain"] if index in ruleset.steering.draining else ()),
        f"meta l4proto tcp tproxy ip to :{ruleset.worker_ports[index]} accept",
        # `tproxy` without a listening socket goes on to the next rule. TCP would try again after a second.
        *(
            [fallback_rules.FINDS_NO_WORKER]
            if ruleset.squid_uid is not None and ruleset.steering.ready
            else ()
        ),
        "counter name worker-absent drop",
    ]


def _workers(ruleset: Ruleset) -> list[str]:
    lines = []
    for index in range(len(ruleset.worker_ports)):
        lines += [f"chain {_worker(index)} {{", *_to_worker(ruleset, index), "}"]
    if ruleset.squid_uid is None:
        return lines
    return [*lines, *fallback_rules.steering_chains(ruleset.uplink_address)]


def _arrival(ruleset: Ruleset) -> list[str]:
    uplink = f'iifname "{ruleset.uplink}"'
    return [
        *_chain("arrive", "input", "filter", "drop", [
            f'iifname "t-*" meta mark & {TENANT_BIT} == {TENANT_BIT} accept',
            *([f'iifname "lo" {fallback_rules.HELPERS} accept'] if ruleset.squid_uid is not None else ()),
            f"{uplink} ct state established accept",
            # RFC 4890's list, for v4: what a sender must hear for path MTU discovery and failing fast.
            f"{uplink} ct state related icmp type {{ destination-unreachable, time-exceeded }} accept",
            "counter name input-dropped drop",
        ]),
        *_chain("pass", "forward", "filter", "drop", ["counter name forward-dropped drop"]),
    ]  # fmt: skip


def _departure(ruleset: Ruleset) -> list[str]:
    gateway, resolver = f"meta skuid {ruleset.gateway_uid}", f"meta skuid {ruleset.resolver_uid}"
    outbound = f"meta skuid {{ {', '.join(map(str, sorted(ruleset.outbound_uids)))} }}"
    squid = ruleset.squid_uid
    asks = resolver if squid is None else f"meta skuid {{ {ruleset.resolver_uid}, {squid} }}"
    # The owner of a packet is who opened its socket. A closing TCP connection has no owner any more, so
    # what goes on in a connection needs none; only its first packet, a SYN without ACK, does.
    opened = "ct state established tcp flags & (syn | ack) != syn"
    return [
        *_chain(
            "leave",
            "output",
            "filter",
            "drop",
            [
                "meta nfproto != ipv4 counter name other-output drop",
                'oifname "t-*" goto leave-to-tenant',
                *(
                    [f'oifname "lo" meta skuid {squid} {fallback_rules.HELPERS} accept']
                    if squid is not None
                    else ()
                ),
                *(fallback_rules.chained(ruleset.gateway_uid) if ruleset.chained else ()),
                f'oifname "{ruleset.uplink}" goto leave-to-uplink',
                "counter name other-output drop",
            ],
        ),
        # Answers only: no process of ours, whatever becomes of it, opens a connection to a container.
        "chain leave-to-tenant {",
        *([] if squid is None else [fallback_rules.leads_to_answering(ruleset.uplink_address)]),
        "meta l4proto tcp tcp flags & (syn | ack) != syn accept",
        f"{resolver} udp sport 53 accept",
        "counter name tenant-output drop",
        "}",
        *([] if squid is None else fallback_rules.answering_chain()),
        "chain leave-to-uplink {",
        f"ip saddr != {ruleset.uplink_address} counter name uplink-output drop",
        f"{asks} ip daddr . udp dport @name_servers accept",
        f"{asks} ip daddr . tcp dport @name_servers accept",
        f"ip daddr . tcp dport @name_servers {opened} accept",
        "ip daddr @special goto leave-to-special",
        f"{opened} accept",
        f"{gateway} ip daddr . tcp dport @exceptions accept"
        if ruleset.proxied
        else f"{outbound} meta l4proto tcp accept",
        "counter name uplink-output drop",
        "}",
        # A range that is not public: nobody, but for the operator's exceptions, and those for the gateway.
        "chain leave-to-special {",
        f"{gateway} ip daddr . tcp dport @exceptions accept",
        f"ip daddr . tcp dport @exceptions {opened} accept",
        "counter name special-output drop",
        "}",
    ]
