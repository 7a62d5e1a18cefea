"""Who speaks, and over what: facts that hold for every request of a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from appliance.audit.record import Interception
from appliance.endpoints import Endpoint
from appliance.names import HostName
from appliance.refusal import Refusal

WELL_KNOWN = "/.well-known/egress/"
"""Below it (RFC 8615) the gateway serves its own documents to its own tenants."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The container endpoint at the other end of a connection, and where it meant to connect."""

    endpoint: Endpoint
    source_port: int
    destination: IPv4Address
    destination_port: int
    source: str = field(init=False, compare=False)
    """`address:port` for the record."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", f"{self.endpoint.address}:{self.source_port}")


@dataclass(frozen=True, slots=True)
class Channel:
    """What carries the requests.

    `server_name` is the SNI of intercepted TLS, absent on a plain channel. `port` is the port that requests
    must be for: of the CONNECT authority, else of the original destination. `standing` refuses every request
    of the channel: the client gets its typed answer inside TLS instead of a network fault.
    """

    caller: Caller
    port: int
    server_name: HostName | None = None
    proxied: bool = False
    standing: Refusal | None = None

    @property
    def tls(self) -> Interception:
        """For the record."""
        return Interception.NONE if self.server_name is None else Interception.INTERCEPTED
