"""Which origin a request is for, given the connection that it came over. Every disagreement is a refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from appliance.addresses import classify
from appliance.gateway import refusals
from appliance.gateway.channel import WELL_KNOWN, Channel
from appliance.http1.head import RequestHead
from appliance.http1.target import Scheme, TargetForm
from appliance.http1.writer import host_text
from appliance.names import GATEWAY_NAME, Authority, Host
from appliance.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port (RFC 9110 section 4.3). `pin`: the original destination must be the host's.

    `name` is the host as text, `destination` what limits and counts call it, `host_field` the Host of its
    requests. Made once for many requests (`_origin`), so that they are.
    """

    scheme: Scheme
    host: Host
    port: int
    pin: bool = False
    name: str = field(init=False, compare=False)
    destination: str = field(init=False, compare=False)
    host_field: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "name", str(self.host))
        set_(self, "destination", f"{self.host}:{self.port}")
        set_(self, "host_field", host_text(Authority(self.host, self.port), self.scheme))


_origin = lru_cache(4096)(Origin)


def origin_of(channel: Channel, head: RequestHead) -> Origin | Refusal:
    """The origin of any request but a CONNECT on a plain channel (that one opens a tunnel, `opening`)."""
    if head.form is TargetForm.AUTHORITY:
        return refusals.CONNECT_IN_TUNNEL
    if channel.server_name is not None:
        return _inside_tls(channel, head)
    if head.form is TargetForm.ABSOLUTE:
        return _origin("http", head.host, head.authority.port if head.authority else 80)
    # Origin-form: the connection was meant for the host itself, so its port is the request's port.
    if head.port is not None and head.port != channel.port:
        return refusals.misdirected(
            "port-mismatch", f"Host names port {head.port}, the connection is to {channel.port}."
        )
    return _origin("http", head.host, channel.port, pin=True)


def _inside_tls(channel: Channel, head: RequestHead) -> Origin | Refusal:
    if head.form is TargetForm.ABSOLUTE:
        return refusals.TARGET_FORM
    # Attack D4: what TLS was opened for is the only host that may be asked for inside it.
    if head.host != channel.server_name:
        return refusals.misdirected(
            "host-not-server-name", f"Host is {head.host}, the TLS server name is {channel.server_name}."
        )
    if head.port is not None and head.port != channel.port:
        return refusals.misdirected(
            "port-mismatch", f"Host names port {head.port}, the connection is to {channel.port}."
        )
    return _origin("https", head.host, channel.port)


def is_own(channel: Channel, head: RequestHead) -> bool:
    """Whether a plain request is for the gateway itself.

    Its name; or one of its documents at the very address that the connection was made to, when that is no
    public address. (Any other request for such an address is policy's to judge: an operator may except one.)
    """
    if channel.server_name is not None or head.form is TargetForm.AUTHORITY:
        return False
    if head.host == GATEWAY_NAME:
        return True
    destination = channel.caller.destination
    return (
        head.path.startswith(WELL_KNOWN) and head.host == destination and not classify(destination).is_public
    )
