"""Addresses that must never be dialled, written down independently of the table that is tested with them."""

from __future__ import annotations

# Every special-purpose IPv4 block: network and the class that must be seen.
BLOCKS_V4: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "anycast"),
    ("192.52.193.0/24", "anycast"),
    ("192.88.99.0/24", "transition"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "anycast"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("168.63.129.16/32", "metadata"),
)
# 224.0.0.0/4 and 240.0.0.0/4 lie side by side up to the end of the space.
TOP_V4: tuple[tuple[str, str], ...] = (
    ("224.0.0.0", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.0", "reserved"),
    ("255.255.255.254", "reserved"),
    ("255.255.255.255", "reserved"),
)
BELOW_TOP_V4 = "223.255.255.255"

# Attack C13.
METADATA: tuple[str, ...] = (
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "192.0.0.192", "100.100.100.200",
    "fd00:ec2::254", "fd20:ce::254",
)  # fmt: skip

BLOCKS_V6: tuple[tuple[str, str], ...] = (
    ("2001::/23", "protocol"),
    ("2001:2::/48", "benchmarking"),
    ("2001:3::/32", "anycast"),
    ("2001:4:112::/48", "anycast"),
    ("2001:10::/28", "reserved"),
    ("2001:20::/28", "reserved"),
    ("2001:30::/28", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("2620:4f:8000::/48", "anycast"),
    ("3ffe::/16", "reserved"),
    ("3fff::/20", "documentation"),
    ("64:ff9b:1::/48", ""),
    ("100::/64", "reserved"),
    ("100:0:0:1::/64", "reserved"),
    ("5f00::/16", "reserved"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("2002::/16", ""),
)

# Attack C11: what hides, and the IPv4 address that a tunnel or translator would take out.
HIDDEN: tuple[tuple[str, str], ...] = (
    ("::ffff:10.0.1.5", "10.0.1.5"),
    ("::ffff:a00:105", "10.0.1.5"),
    ("::10.0.1.5", "10.0.1.5"),
    ("::ffff:0:10.0.1.5", "10.0.1.5"),
    ("64:ff9b::10.0.1.5", "10.0.1.5"),
    ("64:ff9b:1::10.0.1.5", "10.0.1.5"),
    ("64:ff9b:1:a00:1:500::", "10.0.1.5"),
    ("2002:a00:105::1", "10.0.1.5"),
    ("2001:0:4136:e378:8000:63bf:f5ff:fefa", "10.0.1.5"),
    ("fe80::5efe:10.0.1.5", "10.0.1.5"),
    ("2600:1f00::5efe:10.0.1.5", "10.0.1.5"),
    ("2600:1f00::200:5efe:10.0.1.5", "10.0.1.5"),
    ("::ffff:169.254.169.254", "169.254.169.254"),
    ("::ffff:127.0.0.1", "127.0.0.1"),
    ("::ffff:8.8.8.8", "8.8.8.8"),
    ("64:ff9b::8.8.8.8", "8.8.8.8"),
    ("2002:808:808::1", "8.8.8.8"),
)

PUBLIC: tuple[str, ...] = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "223.255.255.255", "192.0.1.0",
    "2606:4700:4700::1111", "2a00:1450:4001::1", "2400:cb00::1",
)  # fmt: skip
