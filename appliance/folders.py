"""Which directories each process needs, as data: where, whose, with which mode.

The launcher makes them before it drops its privileges; systemd units leave a process these alone to write to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.processes import SQUID, Process

if TYPE_CHECKING:
    from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that must exist with this owner before the process starts."""

    path: Path
    uid: int
    mode: int


def folders(settings: Settings, process: Process) -> tuple[Folder, ...]:
    """The directories of `process`, parents first."""
    found = [
        *(Folder(path, 0, 0o755) for path in (settings.run_dir, settings.state_dir, settings.log_dir)),
        Folder(settings.audit_dir, 0, 0o755),
        Folder(settings.audit_dir / process.name, process.uid, 0o750),
    ]
    if process.name == "broker":
        found.append(Folder(settings.ca_dir, process.uid, 0o755))
        found.append(Folder(settings.vault_dir, process.uid, 0o700))
    if process.uid == settings.uids.gateway:
        found.append(Folder(settings.limits_dir, process.uid, 0o700))
    if process.name == SQUID:
        found.append(Folder(settings.run_dir / SQUID, process.uid, 0o700))
    return tuple(found)
