"""Where an instance's Squid listens and keeps its files (pure)."""

from __future__ import annotations

from pathlib import PurePosixPath

from appliance.processes import SQUID, SQUID_PORT
from appliance.settings import NameServer, Settings
from squid.render import Place

DNS_PORT = 53


def place_of(settings: Settings, servers: tuple[NameServer, ...]) -> Place:
    """The place. Raises `ValueError` when no server can be asked on port 53: Squid knows no other."""
    asked = tuple(server.address for server in servers if server.port == DNS_PORT)
    if not asked:
        raise ValueError(
            "no name server on port 53, and Squid asks on no other; name one in resolver.servers"
        )
    return Place(
        address=settings.uplink.address.ip,
        port=SQUID_PORT,
        directory=PurePosixPath(settings.run_dir) / SQUID,
        upstream_ca=PurePosixPath(settings.upstream_ca),
        name_servers=asked,
        chained=settings.uplink.chained,
    )
