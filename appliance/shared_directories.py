"""Directories of the host that others use; an instance has its own, for removal deletes in them.

Source: the Filesystem Hierarchy Standard 3.0, file-hierarchy(7) of systemd, and what Docker and Debian's
package management have below /var/lib, /run and /etc.
"""

from __future__ import annotations

import os
from pathlib import Path

_LINKS: dict[tuple[str, ...], tuple[str, ...]] = {("var", "run"): ("run",), ("var", "lock"): ("run", "lock")}
"""Of Debian: one directory by two names."""
_TREES = ("bin", "boot", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr")
_SHARED = (
    "/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/log", "/var/mail", "/var/opt",
    "/var/spool", "/var/tmp",  # noqa: S108 - named, not used
    "/run/credentials", "/run/docker", "/run/lock", "/run/netns", "/run/systemd", "/run/user",
    "/etc/docker", "/etc/ssl", "/etc/systemd", "/etc/sysusers.d",
    "/opt/egress",
    "/var/lib/containerd", "/var/lib/docker", "/var/lib/dpkg", "/var/lib/systemd", "/var/log/journal",
)  # fmt: skip


def is_shared(path: Path) -> bool:
    """Whether `path`, absolute, is a directory of others: right below the root, the system's, or a home."""
    plain = Path(os.path.normpath(path))
    spelled = tuple(name for name in plain.parts if name.strip("/"))
    names = (*_LINKS.get(spelled[:2], spelled[:2]), *spelled[2:])
    of_a_user = len(names) == 2 and names[0] == "home"
    return len(names) < 2 or names[0] in _TREES or of_a_user or f"/{'/'.join(names)}" in _SHARED
