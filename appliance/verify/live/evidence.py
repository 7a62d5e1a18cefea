"""What is on record of a live canary, counted apart for the control and for everybody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.verify.case import Origin
from appliance.verify.live import packets
from appliance.verify.live.canaries import UPLINK, Visit, Witness
from appliance.verify.live.packets import Packet
from appliance.verify.world import Site


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets that left by the uplink or came to a canary. The control must be seen at both ends."""

    witness: Witness
    matches: Callable[[Packet], bool]

    def hits(self, origin: Origin) -> int:
        """Packets that were seen twice count twice: any one is too many."""
        found = [p for p in self.witness.packets if self.matches(p)]
        if origin is Origin.WORKLOAD:
            return sum(not p.control for p in found)
        left = sum(p.control and p.link == UPLINK for p in found)
        return min(left, sum(p.control and p.link != UPLINK for p in found))


@dataclass(frozen=True, slots=True)
class Names:
    """Packets in which a name is."""

    witness: Witness
    name: str

    def hits(self, origin: Origin) -> int:
        """See `Evidence`."""
        wanted = origin is Origin.CONTROL
        found = (p for p in self.witness.packets if p.control is wanted)
        return sum(packets.mentions(p, self.name) for p in found)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that came to a site; as a workload's, also whatever left for its name or its address."""

    witness: Witness
    site: Site
    method: str | None
    path: str | None

    def hits(self, origin: Origin) -> int:
        """See `Evidence`."""
        wanted = origin is Origin.CONTROL
        came = sum(self._is(v) for v in self.witness.visits if v.control is wanted and v.method)
        left = Names(self.witness, self.site.name).hits(origin)
        if wanted:
            return min(came, left)
        to_it = Packets(self.witness, lambda p: p.destination == self.site.address and p.link == UPLINK)
        return came + left + to_it.hits(origin)

    def _is(self, visit: Visit) -> bool:
        path = visit.path.partition("?")[0]
        begins = self.path is not None and self.path.endswith("*") and path.startswith(self.path[:-1])
        return (
            visit.host.partition(":")[0] == self.site.name
            and self.method in {None, visit.method}
            and (self.path in {None, path} or begins)
        )


@dataclass(frozen=True, slots=True)
class HostVisits:
    """Connections to a server on the host; as a workload's, also packets for it on the uplink."""

    witness: Witness
    address: str

    def hits(self, origin: Origin) -> int:
        """See `Evidence`."""
        wanted = origin is Origin.CONTROL
        place = (self.address, self.witness.host_port)
        came = sum((v.address, v.port) == place and v.control is wanted for v in self.witness.visits)
        left = (p for p in self.witness.packets if (p.destination, p.port) == place and p.protocol == "tcp")
        return came + sum(not p.control for p in left if not wanted)


@dataclass(frozen=True, slots=True)
class ResidentVisits:
    """Connections (peer, address) to a server in a container of ours; the control asks from inside it."""

    visits: Sequence[tuple[str, str]]

    def hits(self, origin: Origin) -> int:
        """See `Evidence`."""
        return sum((peer == address) is (origin is Origin.CONTROL) for peer, address in self.visits)
