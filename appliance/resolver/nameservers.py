"""Which upstream servers to ask: those of the settings, else those that the host itself uses."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from appliance.settings import NameServer, ResolverSettings

HOST_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""resolv.conf(5), and where systemd-resolved writes the servers behind its own loopback stub."""

MAX_SERVERS = 3
"""resolv.conf(5): MAXNS."""


class NoNameServer(RuntimeError):
    """There is nobody to ask; `str()` says what to write where."""


def upstream_servers(
    settings: ResolverSettings, files: tuple[Path, ...] = HOST_FILES
) -> tuple[NameServer, ...]:
    """The servers, in the order in which they are asked. Raises `NoNameServer`."""
    if settings.servers:
        return settings.servers
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        servers = parse_resolv_conf(text)
        if servers:
            return servers
    raise NoNameServer(
        f"no usable name server in {' or '.join(map(str, files))} (IPv4 and no loopback address, which the "
        "gateway's namespace cannot reach); name one in egress.yaml under resolver: servers: [{address: …}]"
    )


def parse_resolv_conf(text: str) -> tuple[NameServer, ...]:
    """The `nameserver` lines with an IPv4 address that can be reached from another network namespace."""
    servers: list[NameServer] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_]:
                try:
                    server = IPv4Address(address)
                except AddressValueError:
                    continue
                if not (server.is_loopback or server.is_unspecified):
                    servers.append(NameServer(address=server))
            case _:
                continue
    return tuple(servers[:MAX_SERVERS])
