"""What systemd takes away from each process beside what its launcher does, as directives (systemd.exec(5)).

Nothing here widens: the launcher drops uid and capabilities itself and asks the kernel whether they are gone.
The capabilities that a unit leaves are those by which the launcher opens listeners and drops the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.folders import folders
from appliance.privilege import DESCRIPTORS, NICE, NICE_BEHIND
from appliance.processes import SQUID, Process, SocketKind

if TYPE_CHECKING:
    from appliance.settings import Settings

Directive = tuple[str, str]

LOWEST_FREE_PORT = 1024  # below it, CAP_NET_BIND_SERVICE (ip(7))

EVERYWHERE: tuple[Directive, ...] = (
    ("NoNewPrivileges", "yes"),
    ("LockPersonality", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RemoveIPC", "yes"),
    ("KeyringMode", "private"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0027"),
    ("LimitCORE", "0"),
    ("LimitNOFILE", str(DESCRIPTORS)),
    ("OOMScoreAdjust", "-900"),
)

IN_OWN_MOUNTS: tuple[Directive, ...] = (
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateMounts", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateIPC", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("RestrictNamespaces", "yes"),
)

_NO_OWN_MOUNTS = "with mounts of its own the host would not see one that it makes: the gateway's namespace"
LEFT_ON_NETD: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "ProtectSystem", "ProtectHome", "PrivateMounts", "PrivateTmp", "PrivateDevices", "PrivateIPC",
            "ProtectControlGroups", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
            "ProtectProc", "ProcSubset", "RootDirectory=/RootImage",
        ),
        _NO_OWN_MOUNTS,
    ),
    "User=/DynamicUser": "it is root, with the capabilities of the table of processes",
    "PrivateUsers": "capabilities of a user namespace of its own are none over the host's network",
    "PrivateNetwork": "the host's end of the uplink, with its rules and its route, is netd's to keep",
    "RestrictNamespaces=~net": "it makes the gateway's namespace and enters containers'",
    "CapabilityBoundingSet=~CAP_NET_ADMIN": "links, routes, neighbours and nftables are its work",
    "CapabilityBoundingSet=~CAP_SYS_ADMIN": "it enters network namespaces, and names one by a mount",
    "CapabilityBoundingSet=~CAP_SYS_PTRACE": "a container's processes and namespaces are read in /proc",
    "CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)": "it asks workers, whose sockets are theirs alone",
    "CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)": "its socket is given to the appliance's group",
    "CapabilityBoundingSet=~CAP_SET(UID|GID|PCAP)": "it leaves root's groups and drops capabilities",
    "SystemCallFilter=~@privileged": "chown, capset, setgroups and setresuid, for the capabilities above",
    "SystemCallFilter=~@mount": "the gateway's namespace has its name by a mount",
    "RestrictAddressFamilies=~AF_NETLINK": "the kernel is told of links, routes and rules over netlink",
    "RestrictAddressFamilies=~AF_UNIX": "Docker, the other processes and `egress` ask it over Unix sockets",
    "RestrictAddressFamilies=~AF_(INET|INET6)": "iptables opens one to ask the kernel; none may send",
    "DeviceAllow": "ProtectClock itself lets the clock's device be read",
    "UMask": "a process's group may read its audit files",
}  # fmt: skip
"""What systemd-analyze(1) counts against netd, or the others have and netd cannot, and why.

A key is a name in `systemd-analyze security` without its last `=`, or a directive's.
"""

WRITES_CODE = frozenset({"gateway", "broker"})
"""Kinds of process that speak TLS by pyOpenSSL: cffi writes a few octets of code for each callback."""

MEMORY = {"netd": "512M", "resolver": "512M", "broker": "1G", "gateway": "2G", "squid": "2G"}
"""Most memory of a kind of process: beyond it the kernel ends this one, and not another of the host's."""
TASKS = 128
WEIGHT, WEIGHT_BEHIND = 1000, 300
"""Shares of a processor, where a container has 100: what `Nice` is worth between control groups."""

_TAKEN_FROM_ALL = "@resources @keyring @aio kcmp name_to_handle_at process_vm_readv process_vm_writev"
_TAKEN = f"@privileged {_TAKEN_FROM_ALL} personality setns unshare"
_LAUNCHERS = "@chown capset setfsuid setgroups setresuid"


def kind(process: Process) -> str:
    """`gateway` for `gateway-0`; every other process is one of its kind."""
    return "gateway" if process.name.startswith("gateway-") else process.name


def capabilities(process: Process) -> frozenset[str]:
    """What the process holds, and what its launcher needs to open its listeners and to become it."""
    needed = {*process.capabilities, "CAP_CHOWN", "CAP_SETGID", "CAP_SETPCAP"}
    if process.uid != 0:
        needed.add("CAP_SETUID")
    ports = [x.port for x in process.listeners if x.kind is not SocketKind.UNIX]
    if ports:
        needed.add("CAP_NET_RAW")  # enough for IP_TRANSPARENT, and no link and no rule is changed by it
    if any(port < LOWEST_FREE_PORT for port in ports):
        needed.add("CAP_NET_BIND_SERVICE")
    return frozenset(needed)


def sandbox(settings: Settings, process: Process) -> tuple[Directive, ...]:
    """The directives of one process's unit, in the order in which they are written."""
    carries = process.carries_traffic
    return (
        *EVERYWHERE,
        ("Nice", str(NICE if carries else NICE_BEHIND)),
        ("CPUWeight", str(WEIGHT if carries else WEIGHT_BEHIND)),
        ("TasksMax", str(TASKS)),
        ("MemoryMax", MEMORY[kind(process)]),
        *([("MemorySwapMax", "0")] if process.name == "broker" else []),  # no secret on a disk
        ("CapabilityBoundingSet", " ".join(sorted(capabilities(process)))),
        ("AmbientCapabilities", ""),
        ("RestrictAddressFamilies", _families(process)),
        *([] if kind(process) in WRITES_CODE else [("MemoryDenyWriteExecute", "yes")]),
        *(_netd() if process.uid == 0 else _unprivileged(settings, process)),
    )


def _families(process: Process) -> str:
    if process.uid == 0:
        return "AF_UNIX AF_NETLINK AF_INET"
    if process.name == SQUID:  # it looks whether there is IPv6, and its helpers for their sockets
        return "AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    if process.in_gateway_namespace:
        return "AF_UNIX AF_INET"
    return "AF_UNIX" if process.without_network else "AF_UNIX AF_INET AF_INET6 AF_NETLINK"


def _netd() -> tuple[Directive, ...]:
    return (
        ("RestrictNamespaces", "net"),
        ("DevicePolicy", "closed"),
        ("IPAddressDeny", "any"),
        ("SystemCallFilter", "@system-service @mount"),
        ("SystemCallFilter", f"~{_TAKEN_FROM_ALL}"),
    )


def _unprivileged(settings: Settings, process: Process) -> tuple[Directive, ...]:
    return (
        *IN_OWN_MOUNTS,
        *(("ReadWritePaths", path) for path in _writable(settings, process)),
        ("SystemCallFilter", "@system-service"),
        ("SystemCallFilter", f"~{_TAKEN}"),
        ("SystemCallFilter", _LAUNCHERS),
    )


def _writable(settings: Settings, process: Process) -> tuple[str, ...]:
    """The run directory, where its launcher opens sockets, and what is its own and not below that."""
    own = {folder.path for folder in folders(settings, process) if folder.uid == process.uid}
    if process.name == "broker":
        own |= {settings.vault_key_file.parent, *_database(settings.vault_url)}
    wanted = sorted({settings.run_dir, *own})
    return tuple(
        str(path) for path in wanted if not any(path != top and path.is_relative_to(top) for top in wanted)
    )


def _database(url: str) -> tuple[Path, ...]:
    """Where SQLite keeps a database and its journal."""
    scheme, _, path = url.partition(":///")
    return (Path(path).parent,) if scheme.startswith("sqlite") else ()
