"""What reached a target's Internet, by a witness that proves each time that it has seen all of it.

The witness (`host/origin.py`) reads the packets of the one link in their order. A mark is a packet of the host itself
on that link: between two marks that one witness has noted stands every destination there was, if it lost no packet.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.provision.commands import Failed
from tests.provision.workload import FORBIDDEN, SITE_ADDRESS

if TYPE_CHECKING:
    from tests.provision.target import Target

RECORD = "/run/origin/packets"
MARK = "192.0.2.1"
NOTED_WITHIN = 10.0
_PORTS = itertools.count(20000)
_SEND = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'mark', (sys.argv[1], int(sys.argv[2])))"


@dataclass(frozen=True, slots=True)
class Since:
    """A line of the record of one witness, which is known by its record's first line."""

    witness: str
    line: int

    @property
    def began(self) -> float:
        """When that witness began to look, in seconds since the epoch."""
        return float(self.witness.split()[0])


def start(target: Target) -> Since:
    """The start of the witness that looks now. Raises `Failed` where there is none."""
    return Since(_record(target)[0], 0)


def mark(target: Target) -> Since:
    """Now: a packet of the host's, noted by the witness. Raises `Failed` where none is."""
    port = str(next(_PORTS))
    target.run("python3", "-c", _SEND, MARK, port)
    deadline = time.monotonic() + NOTED_WITHIN
    while time.monotonic() < deadline:
        lines = _record(target)
        for number, line in enumerate(lines):
            if line.split()[1:3] == ["mark", port]:
                return Since(lines[0], number)
        time.sleep(0.2)
    raise Failed("the witness at the origin sees nothing: what it does not see proves nothing")


def reached(target: Target, since: Since) -> set[str]:
    """Addresses that packets went to from `since` to now. Raises `Failed` where the witness is not that of then, does
    not see the host's packet now, or has lost any."""
    now = mark(target)
    if now.witness != since.witness:
        raise Failed(
            f"the witness at the origin is another than at the start: {since.witness}, {now.witness}"
        )
    lines = [line.split() for line in _record(target)[: now.line + 1]]
    lost = lines[now.line][3]
    if lost != "0":
        raise Failed(f"the witness at the origin has lost {lost} packets")
    return {words[3] for words in lines[since.line :] if words[1] == "packet"}


def nothing_got_out(target: Target, since: Since) -> None:
    """That no packet of the container's trespasses came, as long as the witness has looked, and that what the
    container may do was seen since then. Raises `Failed`."""
    out = reached(target, Since(since.witness, 0)) & set(FORBIDDEN)
    if out:
        raise Failed(f"got out: {', '.join(sorted(out))}")
    if SITE_ADDRESS not in reached(target, since):
        raise Failed(
            f"the witness at the origin has seen no packet to {SITE_ADDRESS}, and requests were answered"
        )


def _record(target: Target) -> list[str]:
    """Its whole lines. Raises `Failed` where it has none."""
    lines = [line for line in target.read(RECORD).splitlines(keepends=True) if line.endswith("\n")]
    if not lines or lines[0].split()[1:2] != ["began"]:
        raise Failed(f"no witness at the origin has begun to look: {lines[:1]}")
    return [line.strip() for line in lines]
