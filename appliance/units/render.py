"""The appliance's processes as units of systemd: text from the table of processes, and nothing beside it.

`ExecStart=!` leaves the uid to the launcher, which needs root to open listeners for any address, under all
else that the unit takes away. No socket unit opens them: the kernel's rules know a socket by who opened it
(`meta skuid`), netd knows the appliance's processes by the sockets they listen on, and a socket unit would
keep those of a namespace that is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from appliance.processes import Process, processes
from appliance.settings import CREDENTIALS, SETTINGS_VARIABLE
from appliance.units.sandbox import Directive, kind, sandbox

if TYPE_CHECKING:
    from appliance.settings import Settings

UNITS = PurePosixPath("systemd/system")
DOCKER = "docker.service"
BROKER = "broker"
FIREWALLS = "nftables.service firewalld.service"
"""What empties or fills the host's tables when it starts: netd comes after it."""

START_WITHIN, STOP_WITHIN, SILENT_FOR = 90, 30, 30
"""Seconds: until a process must be ready; to drain and end; without a sign of life."""

PLAIN, ENCRYPTED = PurePosixPath("/etc/credstore"), PurePosixPath("/etc/credstore.encrypted")
"""Where systemd keeps credentials (systemd.exec(5), LoadCredential=)."""

HEADING = "# Written by `egress units`"
"""How a unit begins; one of the same name that begins otherwise is somebody else's."""

Sections = tuple[tuple[str, tuple[Directive, ...]], ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """The interpreter that has the program, and the settings' file, None for the default.

    `plain_credential`: the vault's passphrase is kept as it is below PLAIN, and not encrypted by
    systemd-creds(1) below ENCRYPTED.
    """

    python: Path
    settings_file: Path | None = None
    plain_credential: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A file for systemd: `path` below /etc, or below any root that is made ready for it."""

    path: PurePosixPath
    text: str


def files(settings: Settings, installed: Installed) -> tuple[File, ...]:
    """All of an instance: users, directories, processes, target, and Docker's order behind them."""
    table = processes(settings)
    return (
        File(PurePosixPath("sysusers.d") / f"{settings.instance}.conf", _users(settings, table)),
        _unit(_directories_name(settings), _directories(settings, installed)),
        *(
            _unit(service_name(settings, process.name), _service(settings, installed, process))
            for process in table
        ),
        _unit(target_name(settings), _target(settings, table)),
        File(UNITS / f"{DOCKER}.d" / f"{settings.instance}.conf", _text(_order_of_docker(settings))),
    )


def target_name(settings: Settings) -> str:
    """What is started and stopped: all processes of the instance."""
    return f"{settings.instance}.target"


def service_name(settings: Settings, process: str) -> str:
    """The unit of a process by its name in the table."""
    return f"{settings.instance}-{process}.service"


def _directories_name(settings: Settings) -> str:
    return f"{settings.instance}-directories.service"


def _users(settings: Settings, table: tuple[Process, ...]) -> str:
    """sysusers.d(5). A user's group has its number, too."""
    uids = {process.uid: kind(process) for process in table if process.uid != 0}
    lines = [f'u {settings.instance}-{name} {uid} "Egress appliance {name}"' for uid, name in uids.items()]
    return "\n".join([f"g {settings.instance} {settings.uids.group}", *lines, ""])


def _directories(settings: Settings, installed: Installed) -> Sections:
    return (
        (
            "Unit",
            (
                ("Description", f"Egress appliance {settings.instance}: directories"),
                ("PartOf", target_name(settings)),
            ),
        ),
        (
            "Service",
            (
                ("Type", "oneshot"),
                ("RemainAfterExit", "yes"),
                *_started(installed, "--folders"),
                ("NoNewPrivileges", "yes"),
                ("CapabilityBoundingSet", "CAP_CHOWN"),
                ("PrivateNetwork", "yes"),
                ("PrivateDevices", "yes"),
                ("ProtectSystem", "full"),
                ("ProtectHome", "yes"),
                ("RestrictAddressFamilies", "AF_UNIX"),
                ("RestrictNamespaces", "yes"),
                ("MemoryDenyWriteExecute", "yes"),
                ("SystemCallArchitectures", "native"),
                ("SystemCallFilter", "@system-service"),
            ),
        ),
    )


def _service(settings: Settings, installed: Installed, process: Process) -> Sections:
    directories = _directories_name(settings)
    outside = [service_name(settings, p.name) for p in processes(settings) if not p.in_gateway_namespace]
    first = outside if process.in_gateway_namespace else []
    firewalls = [FIREWALLS] if process.uid == 0 else []
    return (
        (
            "Unit",
            (
                ("Description", f"Egress appliance {settings.instance}: {process.name}"),
                ("PartOf", target_name(settings)),
                ("Requires", directories),
                *([("Wants", " ".join(first))] if first else []),
                ("After", " ".join([directories, *first, *firewalls])),
                ("Before", DOCKER),
                ("StartLimitIntervalSec", "0"),
            ),
        ),
        (
            "Service",
            (
                ("Type", "notify"),
                ("NotifyAccess", "main"),
                *_started(installed, "--in-place", process.name, sets_uid=process.uid != 0),
                *([("ExecReload", "/bin/kill -HUP $MAINPID")] if process.uid == 0 else []),
                ("Restart", "always"),
                ("RestartSec", "250ms"),
                ("TimeoutStartSec", str(START_WITHIN)),
                ("TimeoutStopSec", str(STOP_WITHIN)),
                ("WatchdogSec", str(SILENT_FOR)),
                ("KillMode", "mixed"),
                *_whose(process),
                *_where(settings, process),
                *_credential(settings, installed, process),
                *sandbox(settings, process),
            ),
        ),
    )


def _whose(process: Process) -> tuple[Directive, ...]:
    """Of whom it becomes in the end; its supplementary group is the launcher's to give."""
    return (("User", str(process.uid)), ("Group", str(process.uid))) if process.uid != 0 else ()


def _where(settings: Settings, process: Process) -> tuple[Directive, ...]:
    if process.in_gateway_namespace:
        return (("NetworkNamespacePath", f"/run/netns/{settings.namespace}"),)
    return (("PrivateNetwork", "yes"),) if process.without_network else ()


def _credential(settings: Settings, installed: Installed, process: Process) -> tuple[Directive, ...]:
    """The vault's passphrase, where the settings say that systemd gives it to the broker."""
    file = settings.vault.passphrase_file
    if process.name != BROKER or file is None or file.parent != credentials_of_broker(settings):
        return ()
    if installed.plain_credential:
        return (("LoadCredential", f"{file.name}:{PLAIN / file.name}"),)
    return (("LoadCredentialEncrypted", f"{file.name}:{ENCRYPTED / file.name}"),)


def credentials_of_broker(settings: Settings) -> Path:
    """The directory in which the broker, and nobody else, finds what systemd gives to its unit."""
    return CREDENTIALS / service_name(settings, BROKER)


def _started(installed: Installed, *arguments: str, sets_uid: bool = False) -> tuple[Directive, ...]:
    file = installed.settings_file
    words = [str(installed.python), "-I", "-m", "netns.launch", *arguments]
    return (
        *([("Environment", quoted(f"{SETTINGS_VARIABLE}={file}"))] if file is not None else []),
        ("ExecStart", ("!" if sets_uid else "") + command(words)),
    )


def _target(settings: Settings, table: tuple[Process, ...]) -> Sections:
    return (
        (
            "Unit",
            (
                ("Description", f"Egress appliance {settings.instance}"),
                ("Wants", " ".join(service_name(settings, process.name) for process in table)),
                ("Before", DOCKER),
            ),
        ),
        ("Install", (("WantedBy", "multi-user.target"),)),
    )


def _order_of_docker(settings: Settings) -> Sections:
    """Docker starts when all are ready; where netd is not, it finds no driver and no plugin, and refuses."""
    name = target_name(settings)
    return (("Unit", (("Wants", name), ("After", name))),)


def quoted(word: str) -> str:
    """One word as it stands, no specifier and no escape in it (systemd.syntax(7), "Quoting")."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if any(c in text for c in " \t'\";") else text


def command(words: Sequence[str]) -> str:
    """A command line: as `quoted`, and no variable in it (systemd.service(5), "Command lines")."""
    return " ".join(quoted(word).replace("$", "$$") for word in words)


def _unit(name: str, sections: Sections) -> File:
    return File(UNITS / name, _text(sections))


def _text(sections: Sections) -> str:
    parts = [f"{HEADING} from the table of processes; it is written anew.\n"]
    for heading, directives in sections:
        parts.append(f"[{heading}]\n" + "".join(f"{key}={value}\n" for key, value in directives))
    return "\n".join(parts)
