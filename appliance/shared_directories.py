"""Directories of the host that others use; an instance has its own, for removal deletes those whole.

Source: the Filesystem Hierarchy Standard 3.0, file-hierarchy(7) of systemd, and what Docker and Debian's
package management have below /var/lib, /run and /etc.
"""

from __future__ import annotations

import os
from pathlib import Path

_TREES = ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr")
_SHARED = (
    "/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/lock", "/var/log", "/var/mail", "/var/opt",
    "/var/run", "/var/spool", "/var/tmp",  # noqa: S108 - named, not used
    "/run/credentials", "/run/docker", "/run/lock", "/run/netns", "/run/systemd", "/run/user",
    "/etc/docker", "/etc/ssl", "/etc/systemd", "/etc/sysusers.d",
    "/opt/egress",
    "/var/lib/containerd", "/var/lib/docker", "/var/lib/dpkg", "/var/lib/systemd", "/var/log/journal",
)  # fmt: skip


def is_shared(path: Path) -> bool:
    """Whether `path`, absolute, is a directory of others: one right below the root, one of the system's."""
    plain = Path(os.path.normpath(path))
    names = [name for name in plain.parts if name.strip("/")]
    return len(names) < 2 or names[0] in _TREES or f"/{'/'.join(names)}" in _SHARED
