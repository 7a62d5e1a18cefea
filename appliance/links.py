"""By which link a connection came in: the mark that the kernel keeps on it from its first packet.

An address is given to another container as soon as one is gone, and a connection may wait to be accepted
longer than that. So each packet of a container is marked with its link (nft, `netns.ruleset`), and with
net.ipv4.tcp_fwmark_accept the accepted socket bears the mark of the packet that opened it (SO_MARK,
socket(7); reading it needs no capability).
"""

from __future__ import annotations

import hashlib
import socket

TENANT_BIT = 1
"""Set in every mark of a link: what routes a packet to a local socket."""


def link_mark(endpoint: str) -> int:
    """The mark of an endpoint's link, 32 bits, from Docker's endpoint id, which is never given twice."""
    return int.from_bytes(hashlib.sha256(endpoint.encode()).digest()[:4], "big") | TENANT_BIT


def accepted_mark(accepted: socket.socket) -> int:
    """The mark of an accepted connection; 0 when it came in by no container's link. Raises `OSError`."""
    return accepted.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) & 0xFFFFFFFF
