"""Hosts as rules write them: an exact name, or `*.suffix` for every name below a suffix, at any depth.

A suffix under which strangers may register names is no suffix for an allow rule (the Public Suffix List,
private section included). `*.suffix` never stands for the suffix itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from publicsuffixlist import PublicSuffixList

from appliance.names import Host, HostName, InvalidName, format_host, parse_host

# Names that no public DNS answers (RFC 6761, RFC 6762, RFC 7686, RFC 9476, RFC 6303), and those that sites
# use inside: a public answer for one would be a collision or an attack.
SPECIAL_USE = frozenset(
    {"alt", "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain",
     "localhost", "onion", "private", "test"}
)  # fmt: skip

# Well-known DNS-over-HTTPS services (RFC 8484), each with all names below: a way to carry queries and data
# past the appliance's resolver. A rule may still allow one.
PUBLIC_RESOLVERS = frozenset(
    {"adguard-dns.com", "basic.rethinkdns.com", "blahdns.com", "cloudflare-dns.com", "dns.adguard.com",
     "dns.alidns.com", "dns.controld.com", "dns.decloudus.com", "dns.google", "dns.google.com",
     "dns.mullvad.net", "dns.nextdns.io", "dns.nic.cz", "dns.quad9.net", "dns.sb", "dns.switch.ch",
     "dns.twnic.tw", "dns0.eu", "dnsforge.de", "doh.360.cn", "doh.applied-privacy.net",
     "doh.cleanbrowsing.org", "doh.ffmuc.net", "doh.li", "doh.libredns.gr", "doh.opendns.com",
     "doh.pub", "doh.sb", "doh.xfinity.com", "freedns.controld.com", "one.one.one.one",
     "public.dns.iij.jp"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HostPattern:
    """`name` is a canonical host; with `below`, every name strictly below it and not itself."""

    name: str
    below: bool = False

    @classmethod
    def of(cls, canonical: str) -> HostPattern:
        """The pattern that `canonical` is the text of."""
        below = canonical.startswith("*.")
        return cls(canonical[2:] if below else canonical, below)

    def covers(self, other: HostPattern) -> bool:
        """Whether every host of `other` is one of ours."""
        if not self.below:
            return self == other
        return other.name.endswith("." + self.name) or (other.below and other.name == self.name)

    def __str__(self) -> str:
        return f"*.{self.name}" if self.below else self.name


@cache
def public_suffixes() -> PublicSuffixList:
    """The list, which takes 60 ms to read the first time; who may not stop for so long asks for it early."""
    return PublicSuffixList()


def is_special_use(host: Host) -> bool:
    """Whether a name has no place in the public DNS; dotless names have none (RFC 7085 §3)."""
    if not isinstance(host, HostName):
        return False
    _, dot, last = host.text.rpartition(".")
    return not dot or last in SPECIAL_USE


def is_public_resolver(host: Host) -> bool:
    """Whether the host is one of `PUBLIC_RESOLVERS` or below one."""
    if not isinstance(host, HostName):
        return False
    rest, dot = host.text, "."
    while dot:
        if rest in PUBLIC_RESOLVERS:
            return True
        _, dot, rest = rest.partition(".")
    return False


def parse_pattern(text: str, *, public_suffix_safe: bool = True) -> HostPattern:
    """Read one item of `hosts`. Raises `ValueError` in the form "what is wrong; what to write"."""
    wildcard = text.startswith("*.")
    if not wildcard and "*" in text:
        raise ValueError(f"{text!r} has a '*' in an odd place; write *.example.com, or list the names")
    if not wildcard and (network := _network(text)) is not None:
        raise ValueError(
            f"{text!r} is a range of addresses; hosts are names: "
            f"write an operator exception for {network} in operator.yaml"
        )
    if text.endswith("."):
        raise ValueError(f"{text!r} ends with a dot; write {text.rstrip('.')!r}")
    try:
        host = parse_host(text[2:] if wildcard else text)
    except InvalidName as error:
        raise ValueError(
            f"{text!r} is no host name ({error.detail}); write a name like api.example.com"
        ) from None
    if not wildcard:
        return HostPattern(format_host(host))
    if not isinstance(host, HostName):
        # pydantic takes ValueError, whatever the fault
        raise ValueError(f"{text!r} is a wildcard over an address; write names")  # noqa: TRY004 - see above
    pattern = HostPattern(host.text, below=True)
    if public_suffix_safe and is_anybodys(pattern):
        raise ValueError("; ".join(anybodys(text, pattern)))
    return pattern


def is_anybodys(pattern: HostPattern) -> bool:
    """Whether the pattern covers names that strangers may register; so for every top-level domain."""
    return pattern.below and bool(public_suffixes().is_public(pattern.name))


def same_registrant(host: str, suffix: str) -> bool:
    """Whether no public suffix lies between `suffix` and a name below it: both have one owner."""
    registered = public_suffixes().privatesuffix(suffix)
    return registered is not None and public_suffixes().privatesuffix(host) == registered


def anybodys(text: str, pattern: HostPattern) -> tuple[str, str]:
    """What is wrong with such a pattern, and what to write."""
    return (
        f"{text!r} covers names that anybody can register",
        f"write *.<a registered domain>.{pattern.name} or exact names",
    )


def _network(text: str) -> IPv4Network | IPv6Network | None:
    if "/" not in text:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
