"""What can be done to the kernel, one thing each, as data; `netns.apply` performs them (types).

`str()` of a step names the object, for logs and errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface

from netns.state import Neighbour, Route, RoutingRule, Side, Table, Uplink


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    """Make the named network namespace, replacing a file that is none."""

    name: str

    def __str__(self) -> str:
        return f"create network namespace {self.name}"


@dataclass(frozen=True, slots=True)
class NameNamespace:
    """Give the namespace that we hold open its name back."""

    name: str

    def __str__(self) -> str:
        return f"give network namespace {self.name} its name back"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write one value below /proc/sys."""

    side: Side
    key: str
    value: str

    def __str__(self) -> str:
        return f"set {self.key.replace('/', '.')}={self.value} in the {self.side.value} namespace"


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Delete a link, and with it the other end of a pair."""

    side: Side
    name: str

    def __str__(self) -> str:
        return f"remove link {self.name} from the {self.side.value} namespace"


@dataclass(frozen=True, slots=True)
class CreateUplink:
    """Make the pair, its outer end moved outside and marked as ours."""

    uplink: Uplink

    def __str__(self) -> str:
        return f"create the uplink pair {self.uplink.inner} - {self.uplink.outer}"


@dataclass(frozen=True, slots=True)
class SetUp:
    """Bring a link up."""

    side: Side
    name: str

    def __str__(self) -> str:
        return f"set link {self.name} up in the {self.side.value} namespace"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Assign an address."""

    side: Side
    name: str
    address: IPv4Interface

    def __str__(self) -> str:
        return f"add address {self.address} to {self.name} in the {self.side.value} namespace"


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Take an address away."""

    side: Side
    name: str
    address: IPv4Interface

    def __str__(self) -> str:
        return f"remove address {self.address} from {self.name} in the {self.side.value} namespace"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Add a route in the gateway namespace."""

    route: Route

    def __str__(self) -> str:
        return f"add {_route(self.route)}"


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Delete a route in the gateway namespace."""

    route: Route

    def __str__(self) -> str:
        return f"remove {_route(self.route)}"


@dataclass(frozen=True, slots=True)
class AddRule:
    """Add a routing rule in the gateway namespace."""

    rule: RoutingRule

    def __str__(self) -> str:
        rule = self.rule
        who = f"mark {rule.mark}/{rule.mask}" if rule.mask else f"from {rule.arriving}"
        return f"add rule: {who} looks up table {rule.table}"


@dataclass(frozen=True, slots=True)
class SetNeighbour:
    """Set a permanent neighbour in the gateway namespace."""

    neighbour: Neighbour

    def __str__(self) -> str:
        return f"set neighbour {self.neighbour.address} on {self.neighbour.interface}"


@dataclass(frozen=True, slots=True)
class ReplaceTable:
    """Load a whole nft table, atomically."""

    side: Side
    table: Table

    def __str__(self) -> str:
        table = self.table
        return f"replace nft table {table.family} {table.name} in the {self.side.value} namespace"


@dataclass(frozen=True, slots=True)
class AcceptInDockerUser:
    """Insert one of our rules into the chain that Docker offers."""

    rule: tuple[str, ...]

    def __str__(self) -> str:
        return f"add to Docker's chain DOCKER-USER: {' '.join(self.rule)}"


Step = (
    CreateNamespace | NameNamespace | SetSysctl | RemoveLink | CreateUplink | SetUp | AddAddress
    | RemoveAddress | AddRoute | RemoveRoute | AddRule | SetNeighbour | ReplaceTable | AcceptInDockerUser
)  # fmt: skip


def _route(route: Route) -> str:
    via = f" via {route.via}" if route.via else ""
    device = f" dev {route.interface}" if route.interface else ""
    return f"route {route.kind.name.lower()} {route.destination}{via}{device} table {route.table}"
