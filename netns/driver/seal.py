"""The seal on Docker's embedded DNS inside a container's network namespace. Pure.

dockerd listens at 127.0.0.11 in each sandbox, on a random port to which it maps port 53, and forwards what it
does not know, on some engines and hosts out of the host's own namespace. So inside the sandbox, where the
container has no CAP_NET_ADMIN, port 53 of that address is mapped to the gateway before Docker's own rule is
reached, and every other packet to it is dropped.
"""

from __future__ import annotations

from ipaddress import IPv4Address

FAMILY = "ip"
TABLE = "egress_seal"
EMBEDDED = IPv4Address("127.0.0.11")
ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet"


def seal_table(gateway: IPv4Address) -> str:
    """The table, in the form in which `nft -n list table` shows it.

    Chains of nat type run at the fixed priority of NAT (-100 in output) in the order of their own priorities:
    -150 is before Docker's. The drop comes after all of them, at 0, and sees what was not mapped. A query
    leaves with the source 127.0.0.1 that its socket was given, hence the masquerade, and route_localnet.
    """
    return f"""\
table {FAMILY} {TABLE} {{
	chain resolver {{
		type nat hook output priority -150; policy accept;
		ip daddr {EMBEDDED} udp dport 53 dnat to {gateway}
		ip daddr {EMBEDDED} tcp dport 53 dnat to {gateway}
	}}

	chain source {{
		type nat hook postrouting priority 90; policy accept;
		oifname != "lo" ip saddr 127.0.0.0/8 masquerade
	}}

	chain embedded {{
		type filter hook output priority 0; policy accept;
		ip daddr {EMBEDDED} drop
	}}
}}
"""


def first_seal(gateway: IPv4Address) -> str:
    """Input of one transaction in a namespace without the table; refused where there is one.

    It deletes nothing: the kernel keeps who deleted a table waiting for 8 to 13 ms, until no packet uses it.
    """
    return f"create table {FAMILY} {TABLE}\n{seal_table(gateway)}"


def seal_ruleset(gateway: IPv4Address) -> str:
    """Input of one transaction: the table anew, whatever was there."""
    return f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n{seal_table(gateway)}"


def seal_holds(listing: str, gateway: IPv4Address) -> bool:
    """Whether a namespace is sealed: `listing` is the value of route_localnet, then what nft lists."""
    routed, _, table = listing.partition("\n")
    return routed.strip() == "1" and table.split() == seal_table(gateway).split()
