"""`python -m netns.launch <process>`: from root to one process of the appliance, and never back.

First everything inherited goes (descriptors, environment); then all is validated into one `Launch`; then the
steps are done in their order, one error for each, naming the object; at last the process replaces us by exec.
It is not tied to its supervisor's life: the data plane goes on when that ends.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance import privilege
from appliance.inherited import FIRST_DESCRIPTOR
from appliance.privilege import Identity, PrivilegeError
from appliance.processes import SQUID, Process, processes
from appliance.readiness import VARIABLES
from appliance.settings import SETTINGS_VARIABLE, Settings, SettingsError, load
from netns import namespaces
from netns.listening import open_listener

KEPT_VARIABLES = ("PATH", "LANG", SETTINGS_VARIABLE, *VARIABLES)
DESCRIPTORS = 65536
_PARKED = 512  # listeners wait here until their final places are free
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_T = TypeVar("_T")


class LaunchError(Exception):
    """The process cannot be started; `str()` is one sentence with the object and the mend."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that must exist with this owner before the process starts."""

    path: Path
    uid: int
    mode: int


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that the steps need, validated."""

    process: Process
    identity: Identity
    namespace: str | None
    folders: tuple[Folder, ...]
    environment: Mapping[str, str]
    command: tuple[str, ...]


def prepare(settings: Settings, name: str, environment: Mapping[str, str]) -> Launch:
    """What launching `name` means. Raises `LaunchError`."""
    table = {process.name: process for process in processes(settings)}
    process = table.get(name)
    if process is None:
        raise LaunchError(f"there is no process {name!r}; the processes are: {', '.join(table)}")
    kept = {"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8"} | {
        k: environment[k] for k in KEPT_VARIABLES if k in environment
    }
    # Neither the current directory nor PYTHON* variables of others decide what is imported (-I is -E -P -s).
    isolation: tuple[str, ...] = ("-I",)
    if process.name == "broker":
        kept |= privilege.ERASING
        isolation = ("-P", "-s")  # the variables are ours, and one of them is Python's
    return Launch(
        process=process,
        identity=Identity(
            process.uid,
            frozenset(process.capabilities),
            groups=frozenset({settings.uids.group} if process.uid else ()),
        ),
        namespace=settings.namespace if process.in_gateway_namespace else None,
        folders=_folders(settings, process),
        environment=kept,
        command=(sys.executable, *isolation, "-m", process.module, *process.arguments),
    )


def _folders(settings: Settings, process: Process) -> tuple[Folder, ...]:
    folders = [
        *(Folder(path, 0, 0o755) for path in (settings.run_dir, settings.state_dir, settings.log_dir)),
        Folder(settings.audit_dir, 0, 0o755),
        Folder(settings.audit_dir / process.name, process.uid, 0o750),
    ]
    if process.name == "broker":
        folders.append(Folder(settings.ca_dir, process.uid, 0o755))
        folders.append(Folder(settings.vault_dir, process.uid, 0o700))
    if process.uid == settings.uids.gateway:
        folders.append(Folder(settings.limits_dir, process.uid, 0o700))
    if process.name == SQUID:
        folders.append(Folder(settings.run_dir / SQUID, process.uid, 0o700))
    return tuple(folders)


def launch(plan: Launch) -> None:
    """Do the steps; does not return. Raises `LaunchError`."""
    process, uid = plan.process, plan.identity.uid
    _step("make directories", lambda: _make_all(plan.folders))
    if plan.namespace is not None:
        namespace = plan.namespace
        _step(f"enter network namespace {namespace}", lambda: namespaces.enter(namespace))
    if process.without_network:
        _step("leave every network", namespaces.leave_all)
    descriptors = _step("open listeners", lambda: [open_listener(x, uid) for x in process.listeners])
    _step("set limits", lambda: privilege.limit_descriptors(DESCRIPTORS))
    privilege.take_precedence(privilege.NICE if process.carries_traffic else privilege.NICE_BEHIND)
    names = [listener.name for listener in process.listeners]
    environment = _step("place descriptors", lambda: _place(descriptors, names, plan.environment))
    _step("leave the directory", lambda: os.chdir("/"))
    os.umask(0o027)
    _step(f"become uid {uid}", lambda: privilege.become(plan.identity))
    _step("find the program", lambda: _readable(plan.command[0]))
    _step(
        f"start {plan.command[0]}",
        lambda: os.execve(plan.command[0], plan.command, environment),  # noqa: S606 - the point of a launcher
    )


def _step(what: str, act: Callable[[], _T]) -> _T:
    try:
        return act()
    except (OSError, PrivilegeError) as error:
        raise LaunchError(f"cannot {what}: {error}") from error


def _make_all(folders: tuple[Folder, ...]) -> None:
    for folder in folders:
        _make(folder)


def _make(folder: Folder) -> None:
    try:
        folder.path.mkdir(mode=folder.mode, parents=True)
    except FileExistsError:
        found = folder.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise LaunchError(f"{folder.path} is no directory; move it away") from None
        if found.st_uid != folder.uid or found.st_mode & 0o022:
            raise LaunchError(
                f"{folder.path} belongs to uid {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o};"
                f" run: chown -R {folder.uid}:{folder.uid} {folder.path}; chmod {folder.mode:o} {folder.path}"
            ) from None
    else:
        folder.path.chmod(folder.mode)  # whatever the umask was
        os.chown(folder.path, folder.uid, folder.uid)


def _place(descriptors: list[int], names: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Move listeners to 3, 4, …, close all others; the environment that tells of them (sd_listen_fds(3))."""
    if FIRST_DESCRIPTOR + len(descriptors) > _PARKED:
        raise LaunchError(f"{len(descriptors)} listeners are too many")
    for index, descriptor in enumerate(descriptors):
        os.dup2(descriptor, _PARKED + index, inheritable=False)
    for index in range(len(descriptors)):
        os.dup2(_PARKED + index, FIRST_DESCRIPTOR + index, inheritable=True)
    privilege.close_inherited(FIRST_DESCRIPTOR + len(descriptors))
    return {
        **environment,
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(descriptors)),
        "LISTEN_FDNAMES": ":".join(names),
    }


def _readable(program: str) -> None:
    """As the new uid: the interpreter and this package must be readable, or exec's message would mislead."""
    for path in (Path(program), Path(__file__)):
        if not os.access(path, os.R_OK):
            raise LaunchError(f"uid {os.getuid()} cannot read {path}; install where every uid may read")


def run(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Launch the one process named in `arguments`; does not return. Raises `LaunchError`, `SettingsError`."""
    if len(arguments) != 1:
        raise LaunchError("usage: python -m netns.launch PROCESS")
    if os.geteuid() != 0:
        raise LaunchError("the launcher changes uids and namespaces and needs root; use: sudo egress up")
    launch(prepare(load(), arguments[0], environment))


def main() -> None:
    """Drop what was inherited, then launch; settings come from $EGRESS_SETTINGS."""
    privilege.close_inherited()
    kept = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
    os.environ.clear()
    os.environ.update(kept)
    os.umask(0o022)
    try:
        run(sys.argv[1:], kept)
    except (LaunchError, SettingsError) as error:
        sys.stderr.write(f"egress-launch: {error}\n")
        raise SystemExit(78) from error  # EX_CONFIG of sysexits.h


if __name__ == "__main__":
    main()
