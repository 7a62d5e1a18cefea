#!/usr/bin/python
"""Whether ranges of addresses that the appliance needs are free on this host."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

DOCUMENTATION = """
module: address_ranges
short_description: Refuse ranges of addresses that a route or Docker has already
description:
  - Compares ranges with the host's IPv4 routes, with the networks of a Docker engine that runs, and with the
    address pools in its configuration file, and fails where they overlap. It changes nothing.
  - What belongs to the appliance itself is passed over, which are Docker's networks of its driver and the
    link that it has marked as its uplink.
options:
  ranges:
    description: Networks that must be free, as an address with its prefix length.
    type: list
    elements: str
    required: true
  driver:
    description: The appliance's instance, which is the name of its Docker driver.
    type: str
    default: egress
  socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
  daemon_json:
    description: The engine's configuration file.
    type: path
    default: /etc/docker/daemon.json
attributes:
  check_mode:
    support: full
    description: It changes nothing.
"""

EXAMPLES = """
- name: The uplink's addresses are nobody else's
  egress.appliance.address_ranges:
    ranges: [198.18.83.2/30]
"""

RETURN = """
engine:
  description: What the engine said, C(asked), C(absent), or C(refuses) where its admission plugin is down.
  type: str
  returned: always
"""

ROUTES = Path("/proc/net/route")
LINKS = Path("/sys/class/net")
UPLINK_MARK = "egress1 uplink instance="  # see netns/plan.py
OK = 200
WIDEST = 8  # bits of prefix

Used = tuple[str, IPv4Network]


class Refused(Exception):
    """A range is taken; the text says by whom, and what to do."""


def networks(texts: list[str], whose: str) -> list[Used]:
    """What of `texts` is an IPv4 network, named `whose`; Docker's IPv6 networks are none of ours."""
    found = []
    for text in texts:
        network = ip_network(text, strict=False)
        if isinstance(network, IPv4Network):
            found.append((f"{whose} ({network})", network))
    return found


def wanted_ranges(texts: list[str]) -> list[IPv4Network]:
    """The ranges that must be free. Raises `Refused`."""
    try:
        return [IPv4Network(text, strict=False) for text in texts]
    except ValueError as error:
        raise Refused(f"{error}; write an address with its prefix length, such as 198.18.83.2/30") from error


def routes(table: str, own: set[str]) -> list[Used]:
    """The networks of a table of /proc/net/route, without those over links of `own`.

    A route that is wider than any network of hosts (the default route, a VPN's halves of it) takes no range.
    """
    found = []
    for line in table.splitlines()[1:]:
        link, *words = line.split()
        address, mask = (IPv4Address(int(words[n], 16).to_bytes(4, sys.byteorder)) for n in (0, 6))
        if link not in own and IPv4Network(f"0.0.0.0/{mask}").prefixlen >= WIDEST:
            found += networks([f"{address}/{mask}"], f"the host's route over {link}")
    return found


def of_engine(listed: list[dict[str, Any]], driver: str) -> list[Used]:
    """The networks that Docker lists, but those of the appliance's own `driver`."""
    found = []
    for network in listed:
        if network.get("Driver") != driver:
            ranges = [
                pool["Subnet"] for pool in (network.get("IPAM") or {}).get("Config") or [] if "Subnet" in pool
            ]
            found += networks(ranges, f"Docker's network {network.get('Name')}")
    return found


def of_configuration(text: str, file: str) -> list[Used]:
    """The address pools of the engine's configuration. Text that is no JSON is another module's to refuse."""
    try:
        settings = json.loads(text or "{}")
        pools = [pool["base"] for pool in settings.get("default-address-pools", [])]
        bridge = [settings[key] for key in ("bip", "fixed-cidr") if key in settings]
        return networks(pools + bridge, f"an address pool in {file}")
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def taken(wanted: list[IPv4Network], used: list[Used]) -> list[str]:
    """One clause for each overlap."""
    return [f"{ours} overlaps {whose}" for ours in wanted for whose, other in used if ours.overlaps(other)]


class _Engine(http.client.HTTPConnection):
    """HTTP over the engine's Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _listed(path: str) -> tuple[str, list[dict[str, Any]]]:
    connection = _Engine(path)
    try:
        connection.request("GET", "/networks")
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except OSError:
        return "absent", []
    finally:
        connection.close()
    # A plugin that is down refuses everything; the engine's networks were looked at when it was named.
    return ("asked", json.loads(text)) if answer.status == OK else ("refuses", [])


def _own_links() -> set[str]:
    aliases = {path.parent.name: path.read_text(encoding="utf-8") for path in LINKS.glob("*/ifalias")}
    return {link for link, alias in aliases.items() if alias.startswith(UPLINK_MARK)}


def look(parameters: dict[str, Any]) -> dict[str, Any]:
    """Compare. Raises `Refused`."""
    wanted = wanted_ranges(parameters["ranges"])
    state, listed = _listed(parameters["socket"])
    file = Path(parameters["daemon_json"])
    used = [
        *routes(ROUTES.read_text(encoding="ascii"), _own_links()),
        *of_engine(listed, parameters["driver"]),
        *of_configuration(file.read_text(encoding="utf-8") if file.is_file() else "", str(file)),
    ]
    overlaps = taken(wanted, used)
    if overlaps:
        raise Refused(f"{'; '.join(overlaps)}. Give the appliance another range, or move the other one")
    return {"changed": False, "engine": state}


def main() -> None:
    """The module, as Ansible starts it."""
    from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

    module = AnsibleModule(
        argument_spec={
            "ranges": {"type": "list", "elements": "str", "required": True},
            "driver": {"type": "str", "default": "egress"},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "daemon_json": {"type": "path", "default": "/etc/docker/daemon.json"},
        },
        supports_check_mode=True,
    )
    try:
        outcome = look(module.params)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
