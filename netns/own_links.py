"""What the kernel tells us of our own doing on containers' links, which asks for no comparison (pure).

A link that comes or goes is some eight notices. They led to two comparisons with the plan for each container,
50 ms of processor time: one while runc was starting it, one at its end, for which Docker waited.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from netns.notices import attributes, text

GRACE = 0.25
"""Seconds after a change of ours by which the kernel's word of it was read. The regular comparison stays."""

_LINK_CHANGED, _LINK_REMOVED, _NEIGHBOURS = 16, 17, (28, 29)  # RTM_NEWLINK, DELLINK, NEWNEIGH and DELNEIGH
_IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
_NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
_IFNAME, _IFALIAS = 3, 20
_IFF_UP = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """A link as we made it."""

    name: str
    index: int
    alias: str


class OwnLinks:
    """`standing` gives the links that should be there; `now` is monotonic seconds.

    Written by the thread that changes links, read by the one that hears.
    """

    def __init__(self, standing: Callable[[], Iterable[Standing]], now: Callable[[], float]) -> None:
        self._standing = standing
        self._now = now
        self._changing: dict[str, tuple[int, float]] = {}
        self.port = 0
        """Netlink port by which we change routes and neighbours: the kernel names it in its notices."""

    def begin(self, name: str, index: int = 0) -> None:
        """From now on we change this link; 0 while it has no index."""
        now = self._now()
        for past in [name for name, (_, until) in self._changing.items() if until < now]:
            del self._changing[past]
        self._changing[name] = (index, float("inf"))

    def end(self, name: str, index: int = 0) -> None:
        """It is as it should be, or gone."""
        self._changing[name] = (index, self._now() + GRACE)

    def expects(self, kind: int, port: int, body: bytes) -> bool:
        """Whether a message of rtnetlink tells what we do ourselves, or of a link that is as we made it."""
        if self.port and port == self.port:
            return True
        now = self._now()
        changing = {name: index for name, (index, until) in tuple(self._changing.items()) if now < until}
        if kind in _NEIGHBOURS and len(body) >= _NDMSG.size:
            return _NDMSG.unpack_from(body)[1] in {*changing.values()} - {0}
        if kind not in {_LINK_CHANGED, _LINK_REMOVED} or len(body) < _IFINFOMSG.size:
            return False
        _family, _type, index, flags, _change = _IFINFOMSG.unpack_from(body)
        said = dict(attributes(body[_IFINFOMSG.size :]))
        name = text(said.get(_IFNAME, b""))
        if name in changing and changing[name] in {0, index}:
            return True
        seen = Standing(name, index, text(said.get(_IFALIAS, b"")))
        return kind == _LINK_CHANGED and bool(flags & _IFF_UP) and seen in self._standing()
