"""The generation of a namespace's nftables: a number that every transaction raises, read in some ten µs."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from netns import namespaces

_NETLINK_NETFILTER = 12
_GETGEN = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN (linux/netfilter/nf_tables.h)
_NEWGEN = 10 << 8 | 15
_REQUEST = struct.pack("=IHHII", 20, _GETGEN, 1, 1, 0) + bytes(4)  # NLM_F_REQUEST; an empty nfgenmsg
_ANSWER = struct.Struct("=4xH10x4x4x")  # nlmsghdr, nfgenmsg, the head of NFTA_GEN_ID, which comes first
_TIMEOUT = 2.0


def generation(sandbox: Path) -> int:
    """The generation in the network namespace at `sandbox`; blocks. Raises `OSError` where there is none."""
    with namespaces.entered(str(sandbox)):
        return generation_here()


def generation_here() -> int:
    """The generation in the network namespace of the calling thread; blocks. Raises `OSError`."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as asking:
        asking.settimeout(_TIMEOUT)
        asking.send(_REQUEST)
        answer = asking.recv(4096)
    (kind,) = _ANSWER.unpack_from(answer)
    if kind != _NEWGEN:
        raise OSError(f"netlink message {kind:#x} instead of a generation of nftables")
    return int.from_bytes(answer[_ANSWER.size : _ANSWER.size + 4], "big")
