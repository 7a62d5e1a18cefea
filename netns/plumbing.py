"""What the Docker driver asks of the kernel side; `netns.wiring` answers it, a fake answers it in tests."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol


class PlumbingError(Exception):
    """A container cannot be wired. `str()` is one sentence for `docker run`, with object and mend.

    Nothing half made is left behind when it is raised.
    """


@dataclass(frozen=True, slots=True)
class Network:
    """A Docker network of ours.

    `id` is Docker's (64 hex digits), `pool` the range of its addresses, `gateway` the address that its
    containers use as default route and name server (in no container's use, and on no interface of ours).
    """

    id: str
    tenant: str
    pool: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Attachment:
    """One container's link, before it exists.

    `endpoint` and `network` are Docker's ids, `mac` is `xx:xx:xx:xx:xx:xx`. `container`, `name` and `run`
    are for people and records only (nothing is decided by them); they may be empty and come later.
    """

    endpoint: str
    network: str
    tenant: str
    address: IPv4Address
    mac: str
    container: str = ""
    name: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """What the `Join` answer needs.

    `interface` is the name of the container's end where it lies now, in the host's namespace (`SrcName`);
    Docker moves it and names it `prefix` + number. `gateway` is the default route.
    """

    interface: str
    gateway: IPv4Address
    prefix: str = "eth"


class Endpoints(Protocol):
    """The kernel side. Every coroutine raises `PlumbingError`; each is idempotent for equal arguments."""

    async def add_network(self, network: Network) -> None:
        """Accept containers with addresses of `network.pool`."""

    async def remove_network(self, network: str) -> None:
        """Forget a network by id; one that is not known is no error."""

    async def attach(self, attachment: Attachment) -> Attached:
        """Make the link and let its packets in; back only when workers and resolver know the container."""

    async def detach(self, endpoint: str) -> None:
        """Remove the link; one that is not known is no error."""

    async def depart(self, endpoint: str) -> None:
        """As `detach`, for a container that Docker has ended: back when workers and resolver have let it go.

        The link goes after that, and before any other link is made.
        """

    async def describe(self, endpoint: str, *, container: str, name: str, run: str) -> None:
        """Tell what a container is called, once Docker knows; an unknown endpoint is no error."""

    def networks(self) -> tuple[Network, ...]:
        """Networks accepted now."""

    def attachments(self) -> tuple[Attachment, ...]:
        """Links that exist now."""
