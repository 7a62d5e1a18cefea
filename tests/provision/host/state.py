"""What a host consists of, as JSON {topic: {name: description}}: run on it before and after, and compared.

Left out is what changes without anybody's doing, and the package manager's own records; packages are a topic.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

ROOTS = ("/", "/run", "/var/lib/docker")
"""File systems that are walked, each to its own border."""
LEFT_OUT = (
    "/proc", "/sys", "/dev", "/srv",
    "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt", "/var/cache/debconf", "/var/cache/ldconfig",
    "/var/cache/man", "/var/log/apt", "/var/log/dpkg.log", "/var/log/alternatives.log", "/var/log/journal",
    "/var/log/fontconfig.log", "/var/lib/systemd/catalog", "/var/lib/systemd/timers",
    "/var/lib/systemd/random-seed", "/var/lib/systemd/linger", "/var/lib/systemd/deb-systemd-helper-enabled", "/etc/ld.so.cache", "/etc/machine-id",
    "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-",
    "/etc/hostname", "/etc/hosts", "/etc/resolv.conf",
    "/run/utmp", "/var/log/wtmp",  # who was logged in, and when the host was started
    "/root/.ansible",  # Ansible's own, of whoever runs it
    "/run/origin", "/run/systemd", "/run/log", "/run/udev", "/run/lock", "/run/user",
)  # fmt: skip
COUNTERS = ("net.netfilter.nf_conntrack_count", "net.ipv4.tcp_fastopen_key", "net.core.flow_limit", "net.ipv4.neigh",
            "net.ipv6.neigh", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets")  # fmt: skip


def said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stdout


def rows(*words: str) -> dict[str, str]:
    """Output lines by their first word."""
    found = {}
    for line in said(*words).splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            found[name] = rest.strip()
    return found


def described(path: str) -> str:
    status = os.lstat(path)
    what = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{what} -> {Path(path).readlink()}"
    if stat.S_ISREG(status.st_mode) and not path.startswith("/run/netns/"):
        return f"{what} {hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
    return what


def files() -> dict[str, str]:
    found = {}
    for root in ROOTS:
        device = os.lstat(root).st_dev
        for folder, folders, names in os.walk(root):
            kept = []
            for name in (*folders, *names):
                path = str(Path(folder) / name)
                if path in LEFT_OUT or path.endswith("/__pycache__") or name.startswith("systemd-private-"):
                    continue
                try:
                    found[path] = described(path)
                    if name in folders and not Path(path).is_symlink() and os.lstat(path).st_dev == device:
                        kept.append(name)
                except FileNotFoundError:
                    continue
            folders[:] = kept
    return found


def network() -> dict[str, str]:
    found = {}
    for link in json.loads(said("ip", "-j", "-d", "address")):
        addresses = sorted(
            f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a.get("scope") != "link"
        )
        found[f"link {link['ifname']}"] = " ".join([link.get("operstate", ""), *addresses])
    for what in ("route", "rule"):
        for line in said("ip", what, *(("show", "table", "all") if what == "route" else ())).splitlines():
            found[f"{what} {line.strip()}"] = ""
    for namespace in Path("/run/netns").iterdir():
        found[f"namespace {namespace.name}"] = ""
    return found


def sysctls() -> dict[str, str]:
    found = {}
    for line in said("sysctl", "-a", "--pattern", "^net[.]").splitlines():
        name, _, value = line.partition(" = ")
        if not name.startswith(COUNTERS):
            found[name] = value
    return found


def processes() -> dict[str, str]:
    own = os.getpid()
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and int(folder.name) != own and (folder / "cmdline").read_bytes():
                found[(folder / "comm").read_text().strip()] = ""
        except OSError:
            continue
    return found


def mounts() -> dict[str, str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        line.split()[4]: "" for line in lines if not line.split()[4].startswith(("/run/credentials", "/proc"))
    }


def main() -> int:
    state = {
        "packages": rows("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n"),
        "asked for by hand": rows("apt-mark", "showmanual"),
        "units": rows("systemctl", "list-unit-files", "--no-legend", "--plain"),
        "failed units": rows("systemctl", "list-units", "--failed", "--no-legend", "--plain"),
        "files": files(),
        "network": network(),
        "sysctls": sysctls(),
        "processes": processes(),
        "mounts": mounts(),
    }
    json.dump(state, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
