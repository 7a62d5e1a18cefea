"""Netlink sockets inside the namespaces that we touch, kept open because `docker run` waits for us.

Used by one thread only: the one that made it.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netns import namespaces, nft
from netns.state import Side

# The kernel's own numbers, from <linux/rtnetlink.h> and <linux/neighbour.h>.
HOST_SCOPE = 254  # RT_SCOPE_HOST, the scope of a local route
LINK_SCOPE = 253  # RT_SCOPE_LINK, of a route to what is on the link itself
NUD_PERMANENT = 0x80  # a neighbour that was written and is never asked for


def delete_link(rtnetlink: Any, index: int) -> None:
    """Delete a link; one that went by itself meanwhile, with its container, is no error."""
    try:
        rtnetlink.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


@dataclass(slots=True)
class _Open:
    identity: int
    socket: Any
    changes: nft.Changes | None = None


class Sockets:
    """One socket of rtnetlink(7) for each side, and one of nftables where it is asked for.

    `gateway` and `outside` name namespaces, None is the host's.
    """

    def __init__(self, gateway: str, outside: str | None) -> None:
        self._names: dict[Side, str | None] = {Side.GATEWAY: gateway, Side.OUTSIDE: outside}
        self._open: dict[Side, _Open] = {}

    def name(self, side: Side) -> str | None:
        """Name of the side's namespace, None for the host's."""
        return self._names[side]

    def exists(self, side: Side) -> bool:
        """Whether the side's namespace is there."""
        return namespaces.identity(self._names[side]) is not None

    def of(self, side: Side) -> Any:
        """The side's socket. Raises `NamespaceError` when there is no such namespace.

        A namespace that was removed and made again under its name is another one: its socket is new.
        """
        name = self._names[side]
        identity = namespaces.identity(name)
        kept = self._open.get(side)
        if kept is not None and kept.identity == identity:
            return kept.socket
        self._close(side)
        if identity is None:
            raise namespaces.NamespaceError(f"network namespace {name} does not exist")
        with namespaces.entered(name):
            self._open[side] = _Open(identity, IPRoute())
        return self._open[side].socket

    def port(self, side: Side) -> int:
        """The side's socket as the kernel numbers it (netlink(7), nl_pid)."""
        return int(self.of(side).epid)

    def changes(self, side: Side) -> nft.Changes:
        """The side's way to nftables. Raises `NamespaceError`, `NftError`."""
        self.of(side)
        kept = self._open[side]
        if kept.changes is None:
            with namespaces.entered(self._names[side]):
                kept.changes = nft.Changes()
        return kept.changes

    def index(self, side: Side, interface: str) -> int | None:
        """A link's index, None when there is no such link. Raises `NamespaceError`."""
        with namespaces.entered(
            self._names[side]
        ):  # 0.04 ms; a question by rtnetlink through pyroute2 takes 1
            try:
                return socket.if_nametoindex(interface)
            except OSError:
                return None

    def close(self) -> None:
        """Close both sockets."""
        for side in tuple(self._open):
            self._close(side)

    def _close(self, side: Side) -> None:
        kept = self._open.pop(side, None)
        if kept is not None:
            kept.socket.close()
            if kept.changes is not None:
                kept.changes.close()
