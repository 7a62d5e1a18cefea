"""The networks that netd has accepted, kept in a file of root's over a restart of the host.

The kernel keeps them over netd's end, but not over its own. dockerd wires containers with a restart policy
before it answers its API, so then it cannot be asked. When it answers, what it no longer has is forgotten.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from appliance.workload import TENANT_NAME
from netns.plumbing import Network

FILE = "networks.json"
LONGEST = 4 << 20
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
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
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unreadable(str(error.strerror)) from error
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._unreadable("no regular file")
            if status.st_uid != self._owner or status.st_mode & _WRITABLE:
                raise self._unreadable(f"others than uid {self._owner} may have written it")
            written = stream.read(LONGEST + 1)
        if len(written) > LONGEST:
            raise self._unreadable(f"longer than {LONGEST} octets")
        try:
            return tuple(_network(entry) for entry in json.loads(written))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unreadable(f"holds no networks ({error})") from error

    def keep(self, networks: Iterable[Network]) -> None:
        """These and no others from the next start on. Raises `OSError`."""
        entries = [
            {"id": n.id, "tenant": n.tenant, "pool": str(n.pool), "gateway": str(n.gateway)} for n in networks
        ]
        draft = self._file.with_name(f".{FILE}.draft")
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as stream:
            stream.write(json.dumps(entries, indent=1).encode("ascii"))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._file)

    def _unreadable(self, why: str) -> NetworksUnreadable:
        return NetworksUnreadable(f"{self._file}: {why}; remove it, and netd asks Docker for its networks")


def _network(entry: dict[str, Any]) -> Network:
    if not _ID.fullmatch(entry["id"]) or not TENANT_NAME.fullmatch(entry["tenant"]):
        raise ValueError(f"{entry['id']!r} of tenant {entry['tenant']!r}")
    if not isinstance(entry["pool"], str) or not isinstance(entry["gateway"], str):
        raise TypeError("an address is text")
    return Network(entry["id"], entry["tenant"], IPv4Network(entry["pool"]), IPv4Address(entry["gateway"]))
