"""Names of links, and what the kernel remembers for us in a link's alias and a set element's comment.

netd keeps no file of links. A link's alias (IFLA_IFALIAS, at most 255 bytes) says whose link it is; the
comment of an element of the nft set `networks` (at most 127 bytes) says which Docker network a pool is. Both
outlive netd.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network

from appliance.workload import TENANT_NAME, TENANT_NAME_MEND
from netns.plumbing import Attachment, Network, PlumbingError

MAX_INTERFACE = 15  # IFNAMSIZ less the terminating zero
MAX_ALIAS = 255  # IFALIASZ less the terminating zero
MAX_COMMENT = 127  # NFTNL_UDATA_COMMENT_MAXLEN less the terminating zero

TENANT_PREFIX = "t-"
CONTAINER_PREFIX = "c-"

_ID = r"[0-9a-f]{64}"
_TENANT = TENANT_NAME.pattern
_ADDRESS = r"[0-9.]{7,15}"
_ALIAS = re.compile(rf"egress1 endpoint=({_ID}) network=({_ID}) tenant=({_TENANT}) address=({_ADDRESS})")
_COMMENT = re.compile(rf"({_ID}) ({_TENANT}) ({_ADDRESS})")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


def tenant_interface(endpoint: str, taken: Container[str] = ()) -> str:
    """Name of the gateway's end: `t-` and twelve digits of the endpoint id that no other link in `taken` has.

    Raises `PlumbingError` in the practically impossible case that every stretch of the id is taken.
    """
    for start in range(0, len(endpoint) - 11, 4):
        name = TENANT_PREFIX + endpoint[start : start + 12]
        if name not in taken:
            return name
    raise PlumbingError(f"endpoint {endpoint}: no free link name; remove stale endpoints and try again")


def container_interface(tenant_end: str) -> str:
    """Name of the container's end until Docker moves and renames it: the same digits after `c-`."""
    return CONTAINER_PREFIX + tenant_end.removeprefix(TENANT_PREFIX)


def uplink_peer(instance: str) -> str:
    """Name of the uplink's other end: `up-` and the instance, shortened by a digest where it is too long."""
    name = f"up-{instance}"
    if len(name) <= MAX_INTERFACE:
        return name
    return f"up-{instance[:7]}-{hashlib.sha256(instance.encode()).hexdigest()[:4]}"


def alias(attachment: Attachment) -> str:
    """The alias of the gateway's end. Raises `PlumbingError` when an attachment cannot be written as one."""
    text = (
        f"egress1 endpoint={attachment.endpoint} network={attachment.network}"
        f" tenant={attachment.tenant} address={attachment.address}"
    )
    if not _ALIAS.fullmatch(text) or len(text) > MAX_ALIAS:
        raise PlumbingError(
            f"endpoint {attachment.endpoint!r} of tenant {attachment.tenant!r}: ids must be 64 hex digits; as"
            f" the tenant's name {TENANT_NAME_MEND}"
        )
    return text


def attachment_of(text: str, mac: str) -> Attachment | None:
    """What an alias says; None for a link that is not ours or only half made. `mac` is the neighbour's."""
    found = _ALIAS.fullmatch(text)
    if found is None:
        return None
    endpoint, network, tenant, address = found.groups()
    try:
        return Attachment(endpoint, network, tenant, IPv4Address(address), mac)
    except ValueError:
        return None


def comment(network: Network) -> str:
    """The comment of a pool's element. Raises `PlumbingError` when a network cannot be written as one."""
    text = f"{network.id} {network.tenant} {network.gateway}"
    if not _COMMENT.fullmatch(text) or len(text) > MAX_COMMENT:
        raise PlumbingError(
            f"network {network.id!r} of tenant {network.tenant!r}: the id must be 64 hex digits; as the"
            f" tenant's name {TENANT_NAME_MEND}"
        )
    return text


def network_of(pool: IPv4Network, text: str) -> Network | None:
    """What a pool's comment says; None when it is not one of ours."""
    found = _COMMENT.fullmatch(text)
    if found is None:
        return None
    try:
        return Network(found[1], found[2], pool, IPv4Address(found[3]))
    except ValueError:
        return None


def is_mac(text: str) -> bool:
    """Whether `text` is a lower-case unicast MAC address."""
    return _MAC.fullmatch(text) is not None and not int(text[:2], 16) & 1
