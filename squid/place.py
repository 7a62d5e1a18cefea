"""Where an instance's Squid listens and keeps its files (pure)."""

from __future__ import annotations

from pathlib import PurePosixPath

from appliance.processes import SQUID, SQUID_PORT
from appliance.settings import (
    NO_SERVER_FOR_SQUID,
    SERVER_FOR_SQUID_MEND,
    NameServer,
    Settings,
    servers_for_squid,
)
from squid.render import Place


def place_of(settings: Settings, servers: tuple[NameServer, ...]) -> Place:
    """The place. Raises `ValueError` when no server can be asked on port 53: Squid knows no other."""
    asked = servers_for_squid(servers)
    if not asked:
        raise ValueError(f"{NO_SERVER_FOR_SQUID}; {SERVER_FOR_SQUID_MEND}")
    return Place(
        address=settings.uplink.address.ip,
        port=SQUID_PORT,
        directory=PurePosixPath(settings.run_dir) / SQUID,
        upstream_ca=PurePosixPath(settings.upstream_ca),
        name_servers=asked,
        chained=settings.uplink.chained,
    )
