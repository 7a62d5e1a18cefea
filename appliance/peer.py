"""Who is at the other end of a Unix socket, as the kernel tells (`SO_PEERCRED`, unix(7))."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A process when it connected, or, asked by who connects, when it called listen(2)."""

    pid: int
    uid: int
    gid: int


def peer_credentials(connected: socket.socket) -> Credentials:
    """Credentials of the process at the other end of a Unix stream socket. Raises `OSError`."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Credentials(*_UCRED.unpack(raw))
