"""What a container must be to get a network of ours: one table for the decision, the manual and the tests.

Field names and defaults: Docker Engine API 1.41 to 1.50, `HostConfig`. What a newer engine adds is refused
until it stands here: an unknown field may be one that opens something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from netns.driver.container_spec import ContainerSpec, Writer, networks_named
from netns.driver.facts import NetworkFact, VolumeFact
from netns.driver.go_json import is_set
from netns.driver.mounts import mounts_of, refused_mount
from netns.driver.network_request import is_ours

ID_LIMIT = 2**31 - 1
_NUMERIC_USER = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")
_NO_NEW_PRIVILEGES = frozenset(
    {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}
)  # the three spellings that dockerd takes for yes
_DEFAULT_PROFILES = frozenset({"seccomp=builtin", "apparmor=docker-default", "apparmor:docker-default"})
_RUNTIMES = frozenset({"", "runc", "io.containerd.runc.v2", "runsc"})
_LOG_DRIVERS = frozenset({"", "json-file", "local", "journald", "none"})
# moby `oci/defaults.go`: what every container hides or may only read of /proc and /sys.
_MASKED = frozenset(
    {"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"}
)
_READ_ONLY = frozenset({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"})

_JUDGED = (
    "Binds NetworkMode PortBindings VolumeDriver VolumesFrom CapAdd CapDrop CgroupnsMode Cgroup GroupAdd "
    "IpcMode Links LogConfig PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt StorageOpt "
    "Sysctls Runtime UTSMode UsernsMode Mounts MaskedPaths ReadonlyPaths CgroupParent Devices "
    "DeviceCgroupRules DeviceRequests Memory MemorySwap OomKillDisable OomScoreAdj PidsLimit Isolation "
)
_HARMLESS = (
    "ContainerIDFile RestartPolicy AutoRemove ConsoleSize Dns DnsOptions DnsSearch ExtraHosts Tmpfs ShmSize "
    "Init CpuShares NanoCpus BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps "
    "BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime "
    "CpusetCpus CpusetMems KernelMemory KernelMemoryTCP MemoryReservation MemorySwappiness Ulimits CpuCount "
    "CpuPercent IOMaximumIOps IOMaximumBandwidth"
)
_CONFIG = (
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce "
    "Env Cmd Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress "
    "OnBuild Labels StopSignal StopTimeout Shell HostConfig NetworkingConfig"
)
HOST_FIELDS = frozenset(name.lower() for name in (_JUDGED + _HARMLESS).split())
CONFIG_FIELDS = frozenset(name.lower() for name in _CONFIG.split())


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision needs to know beside the call; each map has what was looked up, None for absent.

    `real_paths` are host paths with symbolic links resolved, among them that of `tenants_dir`; `accepted` are
    the ids of the networks that our driver has accepted.
    """

    driver: str
    tenants_dir: str
    networks: tuple[NetworkFact, ...] = ()
    containers: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    image_users: Mapping[str, str | None] = field(default_factory=dict)
    volumes: Mapping[str, VolumeFact | None] = field(default_factory=dict)
    real_paths: Mapping[str, str] = field(default_factory=dict)
    accepted: Collection[str] = frozenset()

    def is_ours(self, network: NetworkFact) -> bool:
        """Whether a network is one of the appliance's."""
        return is_ours(network, self.driver, self.accepted)

    def tenant_dir(self, tenant: str) -> str:
        """The one directory whose content a tenant's containers may bind."""
        return f"{self.real_paths.get(self.tenants_dir, self.tenants_dir)}/{tenant}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A container that asks for the appliance network `network`."""

    spec: ContainerSpec
    network: NetworkFact
    facts: Facts


@dataclass(frozen=True, slots=True)
class Requirement:
    """`needed`: `flag` has to be given; otherwise it may not be. `problem` is empty, or the flag to print."""

    key: str
    flag: str
    needed: bool
    why: str
    problem: Callable[[Asked], str]


def numeric_user(text: str) -> tuple[int, int] | None:
    """`uid:gid` of a user given in numbers, both from 1 to 2³¹-1; None for any other."""
    found = _NUMERIC_USER.fullmatch(text)
    if found is None:
        return None
    uid, gid = int(found[1]), int(found[2])
    return (uid, gid) if 0 < uid <= ID_LIMIT and 0 < gid <= ID_LIMIT else None


def _user(asked: Asked) -> str:
    user = asked.spec.config.text("User")
    if not user and asked.spec.writer is Writer.CLIENT:
        image = asked.facts.image_users[asked.spec.config.text("Image")]
        if image is None:
            # dockerd answers "no such image", the client pulls and asks again; the start is judged anyway.
            return ""
        user = image
    return "" if numeric_user(user) else "--user 1000:1000 (uid and gid in numbers, neither 0)"


def _cap_drop(asked: Asked) -> str:
    dropped = {name.upper() for name in asked.spec.host.texts("CapDrop")}
    return "" if "ALL" in dropped else "--cap-drop ALL"


def _no_new_privileges(asked: Asked) -> str:
    given = set(asked.spec.host.texts("SecurityOpt"))
    return "" if given & _NO_NEW_PRIVILEGES else "--security-opt no-new-privileges"


def _security_opt(asked: Asked) -> str:
    allowed = _NO_NEW_PRIVILEGES | _DEFAULT_PROFILES
    wrong = [text for text in asked.spec.host.texts("SecurityOpt") if text not in allowed]
    return f"--security-opt {wrong[0][:60]}" if wrong else ""


def _memory(asked: Asked) -> str:
    return "" if asked.spec.host.integer("Memory") > 0 else "--memory 512m"


def _pids(asked: Asked) -> str:
    return "" if asked.spec.host.integer("PidsLimit") > 0 else "--pids-limit 256"


def _memory_swap(asked: Asked) -> str:
    swap = asked.spec.host.integer("MemorySwap")
    return f"--memory-swap {swap}" if swap < 0 else ""


def _mode(name: str, flag: str, allowed: frozenset[str]) -> Callable[[Asked], str]:
    def problem(asked: Asked) -> str:
        mode = asked.spec.host.text(name)
        return "" if mode in allowed else f"{flag} {mode}"

    return problem


def _cgroup_namespace(asked: Asked) -> str:
    # On a host with cgroup v1 the engine itself writes `host` here when nobody asked for anything.
    if asked.spec.writer is Writer.ENGINE:
        return ""
    mode = asked.spec.host.text("CgroupnsMode")
    return "" if mode in {"", "private"} else f"--cgroupns {mode}"


def _empty(name: str, flag: str) -> Callable[[Asked], str]:
    def problem(asked: Asked) -> str:
        return flag if is_set(asked.spec.host.get(name)) else ""

    return problem


def _publish(asked: Asked) -> str:
    host = asked.spec.host
    return "--publish" if host.mapping("PortBindings") or host.flag("PublishAllPorts") else ""


def _groups(asked: Asked) -> str:
    for group in asked.spec.host.texts("GroupAdd"):
        if numeric_user(f"1:{group}") is None:
            return f"--group-add {group} (only numbers above 0)"
    return ""


def _log_driver(asked: Asked) -> str:
    config = asked.spec.host.struct("LogConfig")
    driver = config.text("Type") if config else ""
    return "" if driver in _LOG_DRIVERS else f"--log-driver {driver} (it sends output off this host)"


def _proc_paths(asked: Asked) -> str:
    # An empty list unmasks everything: that is what the client sends for systempaths=unconfined.
    for name, least in (("MaskedPaths", _MASKED), ("ReadonlyPaths", _READ_ONLY)):
        if asked.spec.host.get(name) is None:
            continue
        if not least <= set(asked.spec.host.texts(name)):
            return "--security-opt systempaths=unconfined"
    return ""


def _oom_score(asked: Asked) -> str:
    score = asked.spec.host.integer("OomScoreAdj")
    return f"--oom-score-adj {score}" if score < 0 else ""


def _storage(asked: Asked) -> str:
    wrong = sorted(set(asked.spec.host.mapping("StorageOpt")) - {"size"})
    return f"--storage-opt {wrong[0]}" if wrong else ""


def _mounts(asked: Asked) -> str:
    facts, tenant = asked.facts, asked.network.tenant
    problems = (
        refused_mount(mount, tenant, facts.tenant_dir(tenant), facts.real_paths, facts.volumes)
        for mount in mounts_of(asked.spec)
    )
    return ", ".join(filter(None, problems))


def _one_network(asked: Asked) -> str:
    def elsewhere(reference: str) -> bool:
        found = networks_named(reference, asked.facts.networks)
        return {network.id for network in found} != {asked.network.id}

    if elsewhere(asked.spec.network_mode):
        return f"--network {asked.spec.network_mode or 'default'} as well"
    for name, settings in asked.spec.endpoints.items():
        identifier = settings.text("NetworkID")
        if elsewhere(name) or (identifier and elsewhere(identifier)):
            return f"--network {name} as well"
    return "--network twice" if len(asked.spec.endpoints) > 1 else ""


def _endpoint(asked: Asked) -> str:
    for settings in asked.spec.endpoints.values():
        ipam = settings.struct("IPAMConfig")
        if ipam is not None and ipam.text("IPv6Address"):
            return "--ip6"
        if ipam is not None and ipam.texts("LinkLocalIPs"):
            return "--link-local-ip"
        if settings.texts("Links"):
            return "--link"
        if settings.mapping("DriverOpts"):
            return "--network driver-opt"
    return ""


def _unknown(asked: Asked) -> str:
    parts = [(asked.spec.host, HOST_FIELDS)]
    if asked.spec.writer is Writer.CLIENT:
        if asked.spec.host is asked.spec.config:
            return "host settings outside HostConfig"
        parts.append((asked.spec.config, CONFIG_FIELDS))
    for part, known in parts:
        for name, value in part:
            if name.lower() not in known and is_set(value):
                return f"{part.path}{name}"
    return ""


_PRIVATE = frozenset({"", "private"})
_EMPTY = frozenset({""})
NEEDED, REFUSED = True, False

REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("user", "--user", NEEDED, "root in uid or gid owns files that it should not", _user),
    Requirement("cap-drop", "--cap-drop ALL", NEEDED, "no capability is needed to be a client", _cap_drop),
    Requirement(
        "no-new-privileges",
        "--security-opt no-new-privileges",
        NEEDED,
        "setuid programs of the image stay harmless",
        _no_new_privileges,
    ),
    Requirement(
        "read-only",
        "--read-only",
        NEEDED,
        "what runs is what the image holds; writable places are --tmpfs",
        lambda asked: "" if asked.spec.host.flag("ReadonlyRootfs") else "--read-only",
    ),
    Requirement("pids-limit", "--pids-limit", NEEDED, "a fork bomb ends in its own container", _pids),
    Requirement("memory", "--memory", NEEDED, "one tenant cannot take the host's memory", _memory),
    Requirement("memory-swap", "--memory-swap -1", REFUSED, "swap counts as memory", _memory_swap),
    Requirement(
        "privileged",
        "--privileged",
        REFUSED,
        "it ends every isolation",
        lambda asked: "--privileged" if asked.spec.host.flag("Privileged") else "",
    ),
    Requirement("cap-add", "--cap-add", REFUSED, "NET_ADMIN undoes the seal", _empty("CapAdd", "--cap-add")),
    Requirement(
        "security-opt", "--security-opt", REFUSED, "seccomp and AppArmor keep their defaults", _security_opt
    ),
    Requirement("system-paths", "systempaths=unconfined", REFUSED, "/proc stays masked", _proc_paths),
    Requirement("pid", "--pid", REFUSED, "others stay invisible", _mode("PidMode", "--pid", _PRIVATE)),
    Requirement(
        "ipc",
        "--ipc",
        REFUSED,
        "shared memory is a way round the gateway",
        _mode("IpcMode", "--ipc", frozenset({"", "private", "none"})),
    ),
    Requirement("uts", "--uts", REFUSED, "the host's name is the host's", _mode("UTSMode", "--uts", _EMPTY)),
    Requirement(
        "userns",
        "--userns",
        REFUSED,
        "the user mapping stays on",
        _mode("UsernsMode", "--userns", _EMPTY),
    ),
    Requirement(
        "cgroupns", "--cgroupns host", REFUSED, "the host's cgroups stay invisible", _cgroup_namespace
    ),
    Requirement(
        "cgroup", "--cgroup", REFUSED, "limits are the container's own", _empty("Cgroup", "--cgroup")
    ),
    Requirement(
        "cgroup-parent",
        "--cgroup-parent",
        REFUSED,
        "limits are the container's own",
        _empty("CgroupParent", "--cgroup-parent"),
    ),
    Requirement("device", "--device", REFUSED, "a device can be a network", _empty("Devices", "--device")),
    Requirement(
        "device-request", "--gpus", REFUSED, "a device can be a network", _empty("DeviceRequests", "--gpus")
    ),
    Requirement(
        "device-cgroup-rule",
        "--device-cgroup-rule",
        REFUSED,
        "a device can be a network",
        _empty("DeviceCgroupRules", "--device-cgroup-rule"),
    ),
    Requirement(
        "mount", "--volume", REFUSED, "files outside the tenant's directory are a channel or worse", _mounts
    ),
    Requirement(
        "volume-driver",
        "--volume-driver",
        REFUSED,
        "a volume plugin can be a network",
        _mode("VolumeDriver", "--volume-driver", frozenset({"", "local"})),
    ),
    Requirement(
        "volumes-from",
        "--volumes-from",
        REFUSED,
        "shared files are a way round the gateway",
        _empty("VolumesFrom", "--volumes-from"),
    ),
    Requirement("publish", "--publish", REFUSED, "nothing reaches the container from outside", _publish),
    Requirement("link", "--link", REFUSED, "containers do not reach each other", _empty("Links", "--link")),
    Requirement(
        "sysctl",
        "--sysctl",
        REFUSED,
        "they belong to the seal",
        _empty("Sysctls", "--sysctl"),
    ),
    Requirement(
        "runtime",
        "--runtime",
        REFUSED,
        "others are not known",
        _mode("Runtime", "--runtime", _RUNTIMES),
    ),
    Requirement(
        "oom-kill-disable",
        "--oom-kill-disable",
        REFUSED,
        "a limit that does not end anything is none",
        _empty("OomKillDisable", "--oom-kill-disable"),
    ),
    Requirement("oom-score-adj", "--oom-score-adj", REFUSED, "the host's processes outlive ours", _oom_score),
    Requirement("group-add", "--group-add", REFUSED, "group 0 owns files that it should not", _groups),
    Requirement("log-driver", "--log-driver", REFUSED, "output must not pass the gateway by", _log_driver),
    Requirement("storage-opt", "--storage-opt", REFUSED, "only a size is known to be harmless", _storage),
    Requirement(
        "isolation",
        "--isolation",
        REFUSED,
        "Linux has one kind",
        _mode("Isolation", "--isolation", frozenset({"", "default"})),
    ),
    Requirement("one-network", "--network", REFUSED, "a second network is a second way out", _one_network),
    Requirement("endpoint", "--link-local-ip", REFUSED, "the link has one IPv4 address", _endpoint),
    Requirement("unknown", "an unknown setting", REFUSED, "it may open what we do not know of", _unknown),
)


def manual() -> str:
    """The table for people, Markdown."""
    lines = ["| `docker run` flag | rule | why |", "|---|---|---|"]
    lines += [f"| `{r.flag}` | {'needed' if r.needed else 'refused'} | {r.why} |" for r in REQUIREMENTS]
    return "\n".join(lines)
