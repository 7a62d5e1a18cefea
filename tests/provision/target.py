"""A host to provision: a container with systemd as its first process and nothing of the machine's network.

What it may do is listed by name; what is beyond it is a network namespace of its own (see `host/internet`).
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.provision import cache
from tests.provision.commands import Failed, Said, run
from tests.provision.releases import RELEASES, Release

HOST = Path(__file__).resolve().parent / "host"
LABEL = "egress.provision"
UNITS = ("internet.service", "origin.service")
NAME_SERVER = "93.184.215.53"
BOOT_WITHIN = 120.0

CAPABILITIES = (
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH",
    "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
    "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_TTY_CONFIG",
    "WAKE_ALARM",
)  # fmt: skip
"""Of a host's root without what reaches the machine below: its clock, modules, raw memory and limits."""


class Target:
    """One host by its container's name."""

    def __init__(self, release: Release, name: str) -> None:
        self.release = release
        self.name = name

    def start(self) -> None:
        """A fresh host, booted. Raises `Failed`."""
        cache.prepare(self.release)
        self.remove()
        volumes = {
            "/srv/packages": cache.packages(self.release),
            "/srv/wheels": cache.wheels(self.release),
            "/srv/images": cache.images(),
            "/srv/pki": cache.pki(),
        }
        # Debian 13's systemd wants to be told that hierarchies of version 1 are meant (as on the machine below).
        legacy = ("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0")
        run(
            "docker", "create", "--name", self.name, "--hostname", self.name, "--label", f"{LABEL}={self.release.name}",
            "--network", "none", "--dns", NAME_SERVER, "--cgroupns", "private",
            "--cap-drop", "ALL", *(word for name in CAPABILITIES for word in ("--cap-add", name)),
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
            "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock", "--volume", "/var/lib/docker",
            "--stop-signal", "SIGRTMIN+3", "--stop-timeout", "60", "--memory", "4g", "--pids-limit", "4096",
            *(word for at, folder in volumes.items() for word in ("--volume", f"{folder}:{at}:ro")),
            "--env", f"SYSTEMD_PROC_CMDLINE={' '.join(legacy)}", self.release.image,
            "/usr/lib/provision/first", *legacy,
        )  # fmt: skip
        run("docker", "cp", "-", f"{self.name}:/", stdin=_own_files())
        run("docker", "start", self.name)
        self.await_boot()
        self.sh("apt-get -qq update")

    def await_boot(self) -> None:
        """Until systemd has started everything. Raises `Failed` with the units that failed."""
        deadline = time.monotonic() + BOOT_WITHIN
        state = ""
        while time.monotonic() < deadline:
            state = self.run("systemctl", "is-system-running", check=False).out.strip()
            if state in {"running", "degraded"}:
                break
            time.sleep(0.3)
        if state != "running":
            failed = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", check=False)
            raise Failed(f"{self.name}: systemd is {state or 'not there'}: {failed.last}")

    def reboot(self) -> None:
        """Stop every process in order and boot again."""
        run("docker", "restart", "-t", "60", self.name, within=150)
        self.await_boot()

    def run(self, *words: str, within: float = 60, check: bool = True, stdin: str | None = None) -> Said:
        """A command in the target as root; see `commands.run`."""
        interactive = ("--interactive",) if stdin is not None else ()
        return run("docker", "exec", *interactive, self.name, *words, within=within, check=check, stdin=stdin)

    def sh(self, script: str, *, within: float = 60, check: bool = True) -> str:
        """Standard output of a script for sh."""
        return self.run("sh", "-ec", script, within=within, check=check).out

    def read(self, path: str) -> str:
        """A text file of the target's; empty when there is none."""
        return self.sh(f"cat {path} 2>/dev/null || true")

    @property
    def pid(self) -> int:
        """Of its first process, as the machine sees it."""
        return int(run("docker", "inspect", "--format", "{{.State.Pid}}", self.name).out)

    def booted(self) -> float:
        """When its first process was started, in seconds since the epoch."""
        words = ("docker", "inspect", "--format", "{{.State.StartedAt}}", self.name)
        return datetime.fromisoformat(run(*words).out[:26]).replace(tzinfo=UTC).timestamp()

    def in_network(self, *words: str, check: bool = True) -> str:
        """Standard output of a program of the machine's in the target's network namespace."""
        return run("nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *words, check=check).out

    def openings(self) -> list[str]:
        """Every link that leads anywhere but between the target and its Internet; empty when it is closed."""
        found = []
        for place, ends in (((), {"lo", "wan0"}), (("-n", "internet"), {"lo", "host0"})):
            links = json.loads(self.run("ip", *place, "-d", "-j", "link").out)
            ids = json.loads(self.run("ip", *place, "-j", "netns", "list-id").out or "[]")
            known = {row["nsid"] for row in ids}
            for link in links:
                kind = link.get("linkinfo", {}).get("info_kind", link.get("link_type"))
                inside = kind == "loopback" or (kind == "veth" and link.get("link_netnsid") in known)
                if link["ifname"] not in ends or not inside:
                    found.append(f"{link['ifname']} ({kind})")
        return found

    def remove(self) -> None:
        """The container with its files, processes and namespaces."""
        run("docker", "rm", "--force", "--volumes", self.name, within=120, check=False)


def existing() -> list[tuple[str, str]]:
    """Name and release of each target that there is."""
    listed = run(
        "docker",
        "ps",
        "--all",
        "--filter",
        f"label={LABEL}",
        "--format",
        f'{{{{.Names}}}} {{{{.Label "{LABEL}"}}}}',
    )
    rows = (line.split() for line in listed.out.splitlines())
    return [(row[0], row[1]) for row in rows if len(row) == 2 and row[1] in RELEASES]


def _own_files() -> bytes:
    """The target's Internet and its first process, as an archive of its file system."""
    places = {f"usr/lib/provision/{name}": (name, 0o755) for name in ("first", "internet", "origin.py")}
    places |= {f"etc/systemd/system/{name}": (name, 0o644) for name in UNITS}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for place, (name, mode) in places.items():
            data = (HOST / name).read_bytes()
            _add(archive, place, data, mode)
        _add(
            archive,
            "usr/local/share/ca-certificates/origin.crt",
            (cache.pki() / "authority.crt").read_bytes(),
            0o644,
        )
        for name in UNITS:
            wanted = tarfile.TarInfo(f"etc/systemd/system/multi-user.target.wants/{name}")
            wanted.type, wanted.linkname = tarfile.SYMTYPE, f"/etc/systemd/system/{name}"
            archive.addfile(wanted)
    return content.getvalue()


def _add(archive: tarfile.TarFile, place: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(place)
    entry.size, entry.mode, entry.mtime = len(data), mode, int(time.time())
    archive.addfile(entry, io.BytesIO(data))
