"""The networks that netd has accepted, kept in a file of root's over a restart of the host.

The kernel keeps them over netd's end, but not over its own. dockerd wires containers with a restart policy
before it answers its API, so then it cannot be asked. When it answers, what it no longer has is forgotten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from appliance.workload import TENANT_NAME
from netns import root_file
from netns.plumbing import Network

FILE = "networks.json"
LONGEST = 4 << 20
_ID = re.compile(r"[0-9a-f]{64}")


class NetworksUnreadable(ValueError):
    """The file is not as netd writes it; `str()` says why, with the mend."""


class NetworksFile:
    """The file, in the instance's state directory."""

    def __init__(self, directory: Path, owner: int = 0) -> None:
        self._file = directory / FILE
        self._owner = owner

    def read(self) -> tuple[Network, ...]:
        """The networks kept last, none without a file. Raises `NetworksUnreadable`."""
        try:
            written = root_file.read(self._file, self._owner, LONGEST)
            return () if written is None else tuple(_network(entry) for entry in json.loads(written))
        except root_file.NotBelieved as error:
            raise self._unreadable(str(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._unreadable(f"holds no networks ({error})") from error

    def keep(self, networks: Iterable[Network]) -> None:
        """These and no others from the next start on. Raises `OSError`."""
        entries = [
            {"id": n.id, "tenant": n.tenant, "pool": str(n.pool), "gateway": str(n.gateway)} for n in networks
        ]
        root_file.replace(self._file, json.dumps(entries, indent=1).encode("ascii"), 0o600)

    def _unreadable(self, why: str) -> NetworksUnreadable:
        return NetworksUnreadable(f"{self._file}: {why}; remove it, and netd asks Docker for its networks")


def _network(entry: dict[str, Any]) -> Network:
    if not _ID.fullmatch(entry["id"]) or not TENANT_NAME.fullmatch(entry["tenant"]):
        raise ValueError(f"{entry['id']!r} of tenant {entry['tenant']!r}")
    if not isinstance(entry["pool"], str) or not isinstance(entry["gateway"], str):
        raise TypeError("an address is text")
    return Network(entry["id"], entry["tenant"], IPv4Network(entry["pool"]), IPv4Address(entry["gateway"]))
