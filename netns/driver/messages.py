"""What dockerd says to its plugins, as types: libnetwork's remote driver and the authorization plugin.

Sources: libnetwork `docs/remote.md` and `drivers/remote/api/api.go`; Docker Engine "Access authorization
plugin".
Field names are Docker's. A field that a newer engine adds is ignored; a field of another type than the
document says is refused.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

GENERIC_OPTIONS = "com.docker.network.generic"
ENABLE_IPV6 = "com.docker.network.enable_ipv6"
INTERNAL = "com.docker.network.internal"
PORT_MAP = "com.docker.network.portmap"

DockerId = Annotated[str, Field(pattern=r"^[0-9a-z]{1,64}$")]


def _absent(value: Any) -> Any:
    """Go writes an empty map or slice as null."""
    return {} if value is None else value


def _absent_list(value: Any) -> Any:
    return [] if value is None else value


def _base64(value: Any) -> Any:
    # encoding/json of Go: a []byte is a base64 string, nil is null.
    if value is None:
        return b""
    if not isinstance(value, str):
        raise ValueError("not a base64 string")  # noqa: TRY004 - pydantic reports a ValueError as a field error
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("not a base64 string") from error


OptionMap = Annotated[dict[str, Any], BeforeValidator(_absent)]
Headers = Annotated[dict[str, str], BeforeValidator(_absent)]


class Message(BaseModel):
    """A request body."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class AddressPool(Message):
    """One address range of a network, as its IPAM driver gave it."""

    Pool: str = ""
    Gateway: str = ""


Pools = Annotated[list[AddressPool], BeforeValidator(_absent_list)]


class CreateNetwork(Message):
    """`docker network create`."""

    NetworkID: DockerId
    Options: OptionMap = Field(default_factory=dict)
    IPv4Data: Pools = Field(default_factory=list)
    IPv6Data: Pools = Field(default_factory=list)


class DeleteNetwork(Message):
    """`docker network rm`."""

    NetworkID: DockerId


class EndpointInterface(Message):
    """A container's interface; addresses carry a prefix length."""

    Address: str = ""
    AddressIPv6: str = ""
    MacAddress: str = ""


class CreateEndpoint(Message):
    """A container will be on the network."""

    NetworkID: DockerId
    EndpointID: DockerId
    Interface: EndpointInterface | None = None
    Options: OptionMap = Field(default_factory=dict)


class EndpointReference(Message):
    """Leave, DeleteEndpoint, EndpointOperInfo, ProgramExternalConnectivity, RevokeExternalConnectivity."""

    NetworkID: DockerId
    EndpointID: DockerId


class Join(EndpointReference):
    """The container starts. `SandboxKey` is the path of its network namespace, in dockerd's file system."""

    SandboxKey: str = ""


class AuthorizationRequest(Message):
    """One call to the Docker API, before the engine acts on it (AuthZReq).

    `RequestUri` is the request target as it stood on the wire. `RequestBody` is absent when the engine did
    not read it: another content type than JSON, or larger than 1 MiB. `RequestHeaders` has the last value of
    each field.
    """

    RequestMethod: str = ""
    RequestUri: str = ""
    RequestBody: Annotated[bytes, BeforeValidator(_base64)] = b""
    RequestHeaders: Headers = Field(default_factory=dict)
    User: str = ""


class AuthorizationResponse(Message):
    """The same call when the engine has acted on it, before the caller hears of it (AuthZRes)."""

    RequestMethod: str = ""
    RequestUri: str = ""
