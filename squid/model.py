"""What Squid may let through while the gateway is away: data made from the policy, and its decision (pure).

Whatever Squid's rules cannot express is denied, so what this allows is a part of what the gateway allows;
`squid.render` writes each step of `Fallback.judge` down as one line of squid.conf, in the same order. Reading
only, by the two web ports, by name, to public addresses; no exceptions, no opaque tunnels, no secrets.

That is about what a request says. Of its form Squid refuses what its rules can see: another version than 1.0
and 1.1, no Host field, a userinfo, any Content-Length or Transfer-Encoding, framing fields in disguise, a
Connection that names what is not its to remove, expectations. What they cannot see stands in SECURITY.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

from appliance.addresses import BLOCKED_V6, blocked_networks_v4
from appliance.policy.hosts import PUBLIC_RESOLVERS, SPECIAL_USE, HostPattern
from appliance.policy.methods import READING
from appliance.policy.paths import ANY_PATH, PathPattern
from appliance.policy.rules import AllowRule, DenyRule, Service
from appliance.policy.set import PolicySet
from appliance.policy.tenant import DOH_AT_END, Profile, TenantPolicy

HEAD_BYTES = 8 * 2**10
"""Request line and fields together. Squid has one limit for everybody: who is granted less gets nothing."""

WEB: tuple[Service, ...] = (("http", 80), ("https", 443))

HOST_NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$"
"""POSIX extended; the same text decides here and in Squid. Two labels at least (RFC 7085 section 3)."""
ODD_NAMES = (
    r"(^|\.)([0-9]+|0x[0-9a-f]*)$",  # inet_aton(3) reads such names as addresses
    r"(^|\.)[^.][^.]--",  # A-labels: whether one is valid cannot be told here (RFC 5891 section 4.2.3.1)
    r"[^.]{64}",  # RFC 1035 section 2.3.4
    r".{254}",
)

# The path as it was sent, without any escape: Squid's own expressions see it only decoded, where %2F is a
# slash, and Squid tells its helpers `~` and `'` as escapes (RFC 1738), so these count as such.
# `*` is left out, since a pattern's `*` does not stand for a segment of that text.
_PLAIN = "A-Za-z0-9._!$&()+,;=:@-"
PATH = f"/[/{_PLAIN}]*"
QUERY = f"([/?*~'{_PLAIN}]|%[0-9A-Fa-f]{{2}})*"
ODD_PATHS = (r"//", r"/\.{1,2}(/|$)", r"/\.{0,2};", DOH_AT_END, r"/squid-internal-")
ODD_QUERIES = (r"%00",)

_NAME, _PATH, _QUERY = (re.compile(text) for text in (HOST_NAME, PATH, QUERY))
_LITERAL = re.compile(f"[{_PLAIN}]*")


class Denial(StrEnum):
    """Why Squid says no; stands in its page."""

    SOURCE_UNKNOWN = "no-policy"
    CROWD = "too-many-connections"  # a matter of state: Squid counts, `judge` does not
    METHOD = "method-not-allowed"
    BODY = "body-not-allowed"
    UPGRADE = "upgrade-not-allowed"
    FORM = "request-malformed"
    SERVICE = "port-not-allowed"
    NAME = "host-invalid"
    NAME_NOT_PUBLIC = "name-not-public"
    HOST_IS_RESOLVER = "host-is-resolver"
    TARGET = "target-not-plain"
    HOST_DENIED = "host-denied"
    HOST_NOT_LISTED = "host-not-listed"
    PRIVATE_ADDRESS = "private-address"
    REQUEST_NOT_LISTED = "request-not-listed"


@dataclass(frozen=True, slots=True)
class Sight:
    """One request as Squid sees it, after TLS. `target` is path and query as they were sent.

    `server_name` is the ClientHello's (None without TLS), `addresses` all that the host resolved to.
    """

    source: IPv4Address
    method: str
    scheme: str
    host: str
    port: int
    target: str
    addresses: tuple[IPv4Address | IPv6Address, ...]
    server_name: str | None = None
    has_body: bool = False
    upgrades: bool = False


@dataclass(frozen=True, slots=True)
class Opening:
    """Requests that one rule allows. `paths` are POSIX expressions over path and query; none means any."""

    host: HostPattern
    services: tuple[Service, ...]
    methods: tuple[str, ...]
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FallbackTenant:
    """One tenant's part. `reads_web`: any public name; else only what `openings` name.

    `connections` are those that one container may hold; Squid keeps no other count.
    """

    pools: tuple[IPv4Network, ...]
    reads_web: bool
    response_bytes: int
    connections: int = 1
    denied: Mapping[Service, tuple[HostPattern, ...]] = field(default_factory=dict)
    openings: tuple[Opening, ...] = ()

    def listed(self, scheme: str) -> tuple[HostPattern, ...]:
        """Hosts to which any request by `scheme` may be allowed; meaningless where `reads_web`."""
        hosts = {o.host: None for o in self.openings if any(s == scheme for s, _ in o.services)}
        return tuple(hosts)


@dataclass(frozen=True, slots=True)
class Fallback:
    """All that squid.conf says of policy."""

    tenants: tuple[FallbackTenant, ...]
    blocked: tuple[IPv4Network | IPv6Network, ...]
    generation: str

    def judge(self, sight: Sight) -> Denial | None:
        """None when the request is let through. The order is that of the `http_access` lines."""
        tenant = next((t for t in self.tenants if any(sight.source in pool for pool in t.pools)), None)
        if tenant is None:
            return Denial.SOURCE_UNKNOWN
        if sight.method not in READING:
            return Denial.METHOD
        if sight.has_body:
            return Denial.BODY
        if sight.upgrades:
            return Denial.UPGRADE
        if (sight.scheme, sight.port) not in WEB:
            return Denial.SERVICE
        host = sight.host.lower()
        if denial := _name_denial(host):
            return denial
        if not plain_target(sight.target) or sight.server_name != (host if sight.scheme == "https" else None):
            return Denial.TARGET
        if _speaks(tenant.denied.get((sight.scheme, sight.port), ()), host):
            return Denial.HOST_DENIED
        if not tenant.reads_web and not _speaks(tenant.listed(sight.scheme), host):
            return Denial.HOST_NOT_LISTED
        if any(address in network for address in sight.addresses for network in self.blocked):
            return Denial.PRIVATE_ADDRESS
        if tenant.reads_web or any(_opens(opening, sight, host) for opening in tenant.openings):
            return None
        return Denial.REQUEST_NOT_LISTED


def fallback_of(
    policies: PolicySet,
    pools: Mapping[str, tuple[IPv4Network, ...]],
    own: tuple[IPv4Network, ...] = (),
) -> Fallback:
    """The fallback for tenants with networks; `own` are the appliance's links, which nobody may reach.

    What the operator denies by address is blocked like what is not public, and by the same word.
    """
    v4 = collapse_addresses((*blocked_networks_v4(), *own, *policies.denied))
    v6 = collapse_addresses(b.network for b in BLOCKED_V6 if isinstance(b.network, IPv6Network))
    tenants = (_tenant(policies.for_tenant(name), pools[name]) for name in sorted(pools))
    return Fallback(tuple(t for t in tenants if t is not None), (*v4, *v6), policies.generation)


def _tenant(policy: TenantPolicy, pools: tuple[IPv4Network, ...]) -> FallbackTenant | None:
    caps, limits = policy.caps, policy.limits
    if policy.profile is None or min(caps.uri_bytes, caps.header_bytes) < HEAD_BYTES or not pools:
        return None
    denied: dict[Service, list[HostPattern]] = {service: [] for service in WEB}
    openings: list[Opening] = []
    for host, port in policy.bound.covered():  # what goes there carries a secret, or does not go at all
        if ("https", port) in denied:
            denied["https", port].append(host)
    for index in policy.layers:
        for host, rule in index.entries():
            if isinstance(rule, DenyRule):
                for service in _denied_services(rule):
                    denied[service].append(host)
            elif (opening := _opening(host, rule)) is not None:
                openings.append(opening)
    return FallbackTenant(
        pools=tuple(sorted(pools)),
        reads_web=policy.profile is Profile.READ_ONLY_WEB,
        response_bytes=caps.response_body_bytes,
        connections=min(s.connections for s in (limits.container, limits.tenant, limits.destination)),
        denied={service: tuple(dict.fromkeys(hosts)) for service, hosts in denied.items()},
        openings=tuple(dict.fromkeys(openings)),
    )


def _denied_services(rule: DenyRule) -> Iterator[Service]:
    """A rule about some paths or keys of a host shuts the whole host here; one about bodies is met anyway."""
    if rule.content_types is not None or (rule.methods is not None and not rule.methods & READING):
        return
    for scheme, port in WEB:
        if (rule.schemes is None or scheme in rule.schemes) and (rule.ports is None or port in rule.ports):
            yield scheme, port


def _opening(host: HostPattern, rule: AllowRule) -> Opening | None:
    services = tuple(service for service in WEB if service in rule.services)
    methods = tuple(sorted(rule.methods & READING))
    if not services or not methods or rule.upgrade:  # such a rule allows a WebSocket and nothing else
        return None
    any_query = rule.query is None  # a rule that names keys: no query at all
    if any_query and any(path.text == ANY_PATH for path in rule.paths):
        return Opening(host, services, methods)
    paths = tuple(dict.fromkeys(e for p in rule.paths if (e := expression(p, any_query=any_query))))
    return Opening(host, services, methods, paths) if paths else None


def expression(pattern: PathPattern, *, any_query: bool) -> str | None:
    """A path pattern as POSIX extended expression over a plain target; None for one with escapes."""
    parts: list[str] = []
    last = len(pattern.segments) - 1
    for index, segment in enumerate(pattern.segments):
        if segment == "**":
            parts.append("[^?]*" if index == last else "([^/?]*/)*")
        elif segment == "*":
            parts.append("[^/?]+" + ("" if index == last else "/"))
        elif _LITERAL.fullmatch(segment):
            parts.append("".join(map(_escaped, segment)) + ("" if index == last else "/"))
        else:
            return None
    return f"^/{''.join(parts)}{'([?].*)?' if any_query else ''}$"


def _escaped(character: str) -> str:
    return f"[{character}]" if character in ".$()+" else character


def plain_target(target: str) -> bool:
    """Whether path and query are such that every reader, and we, read the same (see `PATH`, `QUERY`)."""
    path, mark, query = target.partition("?")
    if not _PATH.fullmatch(path) or any(re.search(odd, path) for odd in ODD_PATHS):
        return False
    return not mark or (
        _QUERY.fullmatch(query) is not None and not any(re.search(odd, query) for odd in ODD_QUERIES)
    )


def _name_denial(host: str) -> Denial | None:
    if not _NAME.fullmatch(host) or any(re.search(odd, host) for odd in ODD_NAMES):
        return Denial.NAME
    if host.rpartition(".")[2] in SPECIAL_USE:
        return Denial.NAME_NOT_PUBLIC
    if any(host == name or host.endswith(f".{name}") for name in PUBLIC_RESOLVERS):
        return Denial.HOST_IS_RESOLVER
    return None


def _speaks(patterns: tuple[HostPattern, ...], host: str) -> bool:
    return any(host.endswith(f".{p.name}") if p.below else host == p.name for p in patterns)


def _opens(opening: Opening, sight: Sight, host: str) -> bool:
    return (
        (sight.scheme, sight.port) in opening.services
        and sight.method in opening.methods
        and _speaks((opening.host,), host)
        and (not opening.paths or any(re.search(path, sight.target) for path in opening.paths))
    )
