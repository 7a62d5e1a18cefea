"""What a host must have before the appliance starts, one check each, with the mend.

`egress up` refuses to begin while one of these fails; `egress doctor` prints them all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import docker_host
from appliance.policy.loader import load_policy_set
from appliance.policy.problems import PolicyError
from appliance.privilege import CAPABILITIES
from appliance.processes import processes
from appliance.settings import NO_SERVER_FOR_SQUID, SERVER_FOR_SQUID_MEND, servers_for_squid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.settings import Settings

MIN_FREE_BYTES = 64 * 1024 * 1024  # audit segments and logs of a first hour; less is a full disk


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `detail` says what was seen, `mend` the command or edit that puts it right.

    With `warns` it is well as far as we go, and there is something beside us that an operator should know.
    """

    name: str
    ok: bool
    detail: str
    mend: str = ""
    warns: bool = False


def before_up(settings: Settings) -> Iterator[Check]:
    """Everything that must hold before anything is changed."""
    yield capabilities(settings)
    yield from programs()
    yield fallback(settings)
    yield from kernel()
    yield host_channel()
    yield interpreter(settings)
    yield from disks(settings)
    yield ca_modes(settings)
    yield vault_files(settings)
    yield workspaces(settings)
    yield trust_store(settings)
    yield policies(settings)
    yield engine(settings)


def capabilities(settings: Settings) -> Check:
    """What whoever starts the processes must have to hand on: without it no rule could be put in force."""
    needed = sorted({name for process in processes(settings) for name in process.capabilities})
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = int(status.partition("CapEff:")[2].split()[0], 16)
    missing = [name for name in needed if not held >> CAPABILITIES[name] & 1]
    return Check(
        "capabilities",
        not missing,
        f"without {', '.join(missing)}" if missing else ", ".join(needed),
        "run as root, and let no CapabilityBoundingSet= or --cap-drop take them away",
    )


def programs() -> Iterator[Check]:
    """The programs that netd starts."""
    for program, package in (("nft", "nftables"), ("ip", "iproute2"), ("nsenter", "util-linux")):
        path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
        yield Check(f"program {program}", path is not None, path or "not found", f"apt-get install {package}")


FALLBACK_PROGRAMS = (
    "/usr/sbin/squid",
    "/usr/lib/squid/security_file_certgen",
    "/usr/bin/setpriv",
    "/usr/bin/sed",
    "/usr/bin/ss",
)


def fallback(settings: Settings) -> Check:
    """What takes over when the gateway is away; to do without it is the operator's to say."""
    if not settings.has_fallback:
        why = "the settings say so" if not settings.fallback else "the uplink has a proxy"
        return Check("fallback", ok=True, detail=f"none, for {why}: without the gateway nothing passes")
    missing = [program for program in FALLBACK_PROGRAMS if not os.access(program, os.X_OK)]
    servers = settings.resolver.servers
    detail = f"{', '.join(missing)} not found" if missing else FALLBACK_PROGRAMS[0]
    mend = "apt-get install squid-openssl iproute2"
    if not missing and servers and not servers_for_squid(servers):
        missing, detail, mend = [detail], NO_SERVER_FOR_SQUID, SERVER_FOR_SQUID_MEND
    # Chained, the gateway itself goes out through Squid: the settings refuse to do without it alone.
    without = "leave `uplink.chained` away and write" if settings.uplink.chained else "write"
    return Check("fallback", not missing, detail, f"{mend}, or {without} `fallback: false` in the settings")


_PROBE = """table inet egress_probe {
    chain probe {
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto tcp tproxy ip to :jhash ip saddr mod 2 map { 0 : 1, 1 : 2 } meta mark set 1 accept
    }
}
"""


def kernel() -> Iterator[Check]:
    """Kernel features, asked of the kernel itself: a dry run of the very rule kinds that we load."""
    nft = shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if nft is None:
        yield Check(
            "kernel nftables", ok=False, detail="cannot be asked without nft", mend="apt-get install nftables"
        )
        return
    probe = subprocess.run([nft, "-c", "-f", "-"], input=_PROBE, text=True, capture_output=True, check=False)
    yield Check(
        "kernel TPROXY in nftables",
        probe.returncode == 0,
        "accepted" if probe.returncode == 0 else (probe.stderr.strip().splitlines() or ["refused"])[0],
        "run as root on a kernel with CONFIG_NFT_TPROXY, CONFIG_NFT_HASH (Debian's has both)",
    )
    namespaces = Path("/proc/self/ns/net").exists()
    yield Check(
        "kernel network namespaces", namespaces, "present" if namespaces else "absent", "CONFIG_NET_NS"
    )


VSOCK = Path("/dev/vsock")
_GET_LOCAL_CID = 0x7B9  # linux/vm_sockets.h IOCTL_VM_SOCKETS_GET_LOCAL_CID
_NO_CID = 0xFFFFFFFF  # VMADDR_CID_ANY


def host_channel() -> Check:
    """Whether this is a guest that its hypervisor listens to: vsock(7) knows no network namespaces.

    The engine's seccomp profile keeps containers from it, but not in every release, nor where 32-bit calls
    are let through.
    """
    cid = array("I", [_NO_CID])
    try:
        with VSOCK.open("rb") as device:
            fcntl.ioctl(device, _GET_LOCAL_CID, cid)
    except OSError:
        cid[0] = _NO_CID
    if cid[0] == _NO_CID:
        return Check("vsock", ok=True, detail="no channel to a hypervisor")
    return Check(
        "vsock",
        ok=True,
        warns=True,
        detail=f"this guest (CID {cid[0]}) can speak to its hypervisor outside of all network namespaces",
        mend="blacklist the modules vmw_vsock_virtio_transport and vsock, or take the device away",
    )


def interpreter(settings: Settings) -> Check:
    """Whether the unprivileged uids can run this very installation."""
    command = [sys.executable, "-I", "-c", "import appliance.settings, netns.launch"]
    seen = ""
    if os.geteuid() == 0:
        uid = settings.uids.gateway
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                cwd="/",
                user=uid,
                group=uid,
                extra_groups=[],
            )
        except OSError as error:
            seen = str(error)
        else:
            lines = done.stderr.strip().splitlines()
            seen = (lines or [f"exit {done.returncode}"])[-1] if done.returncode else ""
    return Check(
        "installation readable by the service uids",
        not seen,
        seen or str(sys.prefix),
        f"install where every uid may read (not below a private home): {sys.prefix}",
    )


def disks(settings: Settings) -> Iterator[Check]:
    """Room for state and audit; without audit there is no traffic."""
    for name, folder in (("state", settings.state_dir), ("log", settings.log_dir)):
        existing = folder
        while not existing.exists():
            existing = existing.parent
        free = shutil.disk_usage(existing).free
        yield Check(
            f"disk for {name}",
            free >= MIN_FREE_BYTES,
            f"{free // 1024 // 1024} MiB free at {existing}",
            f"free at least {MIN_FREE_BYTES // 1024 // 1024} MiB there, or set {name}_dir",
        )


def ca_modes(settings: Settings) -> Check:
    """The root key, once made, is readable by the broker alone."""
    key = settings.ca_dir / "root.key"
    if not key.exists():
        return Check("CA key", ok=True, detail="made at first start")
    found = key.stat()
    loose = stat.S_IMODE(found.st_mode) & 0o177
    wrong_owner = found.st_uid != settings.uids.broker
    return Check(
        "CA key",
        not loose and not wrong_owner,
        f"{key} mode {stat.S_IMODE(found.st_mode):04o} owner {found.st_uid}",
        f"chown {settings.uids.broker}:{settings.uids.broker} {key} && chmod 600 {key}",
    )


def vault_files(settings: Settings) -> Check:
    """The vault's directory and its files, once made, are the broker's alone."""
    folder, uid = settings.vault_dir, settings.uids.broker
    found = [path for path in (folder, settings.vault_key_file, *folder.glob("*")) if path.exists()]
    loose = sorted({str(path) for path in found if path.stat().st_uid != uid or path.stat().st_mode & 0o077})
    if not found:
        return Check("vault", ok=True, detail="made at first start")
    return Check(
        "vault",
        not loose,
        f"open to others, or not the broker's: {', '.join(loose)}" if loose else f"{folder} is the broker's",
        f"chown {uid}:{uid} {' '.join(loose)} && chmod go= {' '.join(loose)}",
    )


def workspaces(settings: Settings) -> Check:
    """Tenants' directories are closed to the host's users: a container may leave a setuid file there."""
    homes = sorted((settings.state_dir / "tenants").glob("*/"))
    loose = [str(home) for home in homes if home.stat().st_mode & 0o077 or home.stat().st_uid != 0]
    return Check(
        "workspaces",
        not loose,
        f"open to the host's users, or not root's: {', '.join(loose)}" if loose else f"{len(homes)} closed",
        f"chown root:root {' '.join(loose)} && chmod 700 {' '.join(loose)}",
    )


def trust_store(settings: Settings) -> Check:
    """The certificates that upstream servers are verified with."""
    file = settings.upstream_ca
    ok = file.is_file() and file.stat().st_size > 0
    return Check(
        "upstream trust store",
        ok,
        str(file),
        "apt-get install ca-certificates, or set upstream_ca in the settings",
    )


def policies(settings: Settings) -> Check:
    """Every policy document can be loaded."""
    try:
        loaded = load_policy_set(settings)
    except PolicyError as error:
        return Check(
            "policy", ok=False, detail=str(error), mend="mend the file; check with: egress policy check FILE"
        )
    return Check("policy", ok=True, detail=f"{len(loaded.tenants)} tenants")


def engine(settings: Settings) -> Check:
    """A Docker engine answers, or waits only for our own admission plugin (after a boot, or our death)."""
    try:
        if docker_host.starts_after_us(settings):
            return Check(
                "Docker", ok=True, detail="down: it cannot start before our admission plugin answers"
            )
        if docker_host.waits_for_us(settings):
            return Check("Docker", ok=True, detail="refuses all calls until our admission plugin answers")
        with docker_host.client(settings) as client:
            version = client.version().get("Version", "?")
    except docker_host.DockerUnavailable as error:
        return Check("Docker", ok=False, detail="no answer", mend=str(error))
    except Exception as error:  # noqa: BLE001 - the SDK raises requests' errors too; all mean the same here
        return Check(
            "Docker", ok=False, detail=str(error), mend="look at the engine's log; is another plugin down?"
        )
    return Check("Docker", ok=True, detail=f"engine {version}")
