"""What the kernel says on its netlink multicast groups, as sentences (pure).

Formats: netlink(7), rtnetlink(7); linux/netfilter/nfnetlink.h and nf_tables.h. Every notice of nftables
belongs to a transaction, and the message NEWGEN that ends it names the process that made it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

ROUTE_GROUPS = (1, 3, 5, 7, 8, 24)
"""RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV4_NETCONF."""
NFTABLES_GROUPS = (7,)
"""NFNLGRP_NFTABLES."""
LOST = "more notices than we could read"

_HEAD = struct.Struct("=IHHII")  # length, type, flags, sequence, port of the asker
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ROUTE_SAYS = {
    16: "link changed", 17: "link removed", 20: "address added", 21: "address removed",
    24: "route added", 25: "route removed", 28: "neighbour changed", 29: "neighbour removed",
    32: "routing rule added", 33: "routing rule removed",
    80: "forwarding or source check changed", 81: "a link's settings removed",
}  # fmt: skip
_SETTINGS = (80, 81)
_NETCONFMSG = 4
_IFINDEX = 1  # NETCONFA_IFINDEX
_NO_LINK = (b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff")  # NETCONFA_IFINDEX_ALL, DEFAULT
_NFTABLES = 10  # NFNL_SUBSYS_NFTABLES
_NEWGEN = 15
_NFT_SAYS = {
    0: "table changed", 2: "table removed", 3: "chain changed", 5: "chain removed", 6: "rule added",
    8: "rule removed", 9: "set changed", 11: "set removed", 12: "elements added", 14: "elements removed",
    18: "object changed", 20: "object removed", 22: "flow table changed", 24: "flow table removed",
}  # fmt: skip
_NFGENMSG = 4
_TABLE = 1  # the first attribute of every message but NEWGEN: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE …
_GEN_PROCESS, _GEN_COMMAND = 2, 3


def _nothing(kind: int, port: int, body: bytes) -> bool:
    del kind, port, body
    return False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something changed: what, and by whom where the kernel says it; `own` when that was us."""

    what: str
    by: str = ""
    own: bool = False

    def __str__(self) -> str:
        return f"{self.what}, by {self.by}" if self.by else self.what


def route_notices(
    datagram: bytes, mentions: bytes = b"", expected: Callable[[int, int, bytes], bool] = _nothing
) -> Iterator[Notice]:
    """Notices of rtnetlink; with `mentions`, only those with that text in them or about all links at once.

    One link's own settings are no part of the plan. `expected` (type, port, body) says what is our own doing.
    """
    for kind, port, body in _messages(datagram):
        said = _ROUTE_SAYS.get(kind)
        if said is None:
            continue
        if kind in _SETTINGS:
            tells = dict(attributes(body[_NETCONFMSG:])).get(_IFINDEX) in _NO_LINK
        else:
            tells = mentions in body
        if tells:
            yield Notice(said, f"pid {port}" if port else "", own=expected(kind, port, body))


class Transactions:
    """Puts the notices of nftables together again; `take` gives one for each transaction.

    `tables`: of those only, None for all. `own` holds our own threads.
    """

    def __init__(self, own: Container[int] = (), tables: frozenset[str] | None = None) -> None:
        self._own = own
        self._tables = tables
        self._said: dict[str, None] = {}

    def take(self, datagram: bytes) -> Iterator[Notice]:
        """Read one datagram."""
        for kind, _port, body in _messages(datagram):
            subsystem, message = divmod(kind, 256)
            told = dict(attributes(body[_NFGENMSG:]))
            if subsystem != _NFTABLES:
                continue
            if message == _NEWGEN:
                yield from self._ended(told)
            elif message in _NFT_SAYS:
                table = text(told.get(_TABLE, b""))
                if self._tables is None or table in self._tables:
                    self._said[f"{_NFT_SAYS[message]} in table {table}"] = None

    def _ended(self, told: dict[int, bytes]) -> Iterator[Notice]:
        said, self._said = tuple(self._said), {}
        process = int.from_bytes(told.get(_GEN_PROCESS, b""), "big")
        if said:
            command = text(told.get(_GEN_COMMAND, b""))
            yield Notice(", ".join(said[-2:]), f"{command} (pid {process})", process in self._own)


def _messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, port and body of each message."""
    start = 0
    while start + _HEAD.size <= len(datagram):
        length, kind, _flags, _sequence, port = _HEAD.unpack_from(datagram, start)
        if length < _HEAD.size:
            return
        yield kind, port, datagram[start + _HEAD.size : start + length]
        start += (length + 3) & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute."""
    start = 0
    while start + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[start + _ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3


def text(value: bytes) -> str:
    """A string attribute."""
    return value.rstrip(b"\0").decode("ascii", "replace")
