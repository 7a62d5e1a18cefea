"""`python -m netns.launch [--in-place] <process>`: from root to one process of the appliance, and never back.

First everything inherited goes (descriptors, environment); then all is validated into one `Launch`; then the
steps are done in their order, one error for each, naming the object; at last the process replaces us by exec.
It is not tied to its supervisor's life: the data plane goes on when that ends.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from appliance import privilege
from appliance.folders import Folder, folders
from appliance.inherited import FIRST_DESCRIPTOR, NOTIFY_VARIABLES
from appliance.privilege import DESCRIPTORS, Identity, PrivilegeError
from appliance.processes import Process, processes
from appliance.settings import SETTINGS_VARIABLE, Settings, SettingsError, load
from netns import namespaces
from netns.listening import open_listener

KEPT_VARIABLES = ("PATH", "LANG", SETTINGS_VARIABLE, *NOTIFY_VARIABLES)
IN_PLACE = "--in-place"
FOLDERS = "--folders"
_PARKED = 512  # listeners wait here until their final places are free
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_T = TypeVar("_T")


class LaunchError(Exception):
    """The process cannot be started; `str()` is one sentence with the object and the mend."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that the steps need, validated.

    `in_place`: whoever started us has put us into the network namespace already, and is taken at no word.
    """

    process: Process
    identity: Identity
    namespace: str | None
    folders: tuple[Folder, ...]
    environment: Mapping[str, str]
    command: tuple[str, ...]
    in_place: bool = False


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
        folders=folders(settings, process),
        environment=kept,
        command=(str(_pinned(Path(sys.executable))), *isolation, "-m", process.module, *process.arguments),
    )


def _pinned(program: Path) -> Path:
    """`program` by the directory where it really is: what an upgrade puts there changes no running process.

    Its last part stays, for in a virtual environment the interpreter is itself a link.
    """
    return program.parent.resolve() / program.name


def launch(plan: Launch) -> None:
    """Do the steps; does not return. Raises `LaunchError`."""
    process, uid = plan.process, plan.identity.uid
    _step("make directories", lambda: _make_all(plan.folders))
    if plan.in_place:
        _step("look where we are", lambda: _verify_place(plan))
    elif plan.namespace is not None:
        namespace = plan.namespace
        _step(f"enter network namespace {namespace}", lambda: namespaces.enter(namespace))
    elif process.without_network:
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


def _verify_place(plan: Launch) -> None:
    """Raises `LaunchError` where a process of another place would have been put."""
    if plan.namespace is not None and namespaces.identity(plan.namespace) != namespaces.identity(None):
        raise LaunchError(
            f"this is not network namespace {plan.namespace}; start it by its unit, once netd is ready"
        )
    if plan.process.without_network and namespaces.links() - namespaces.FALLBACK_TUNNELS != {"lo"}:
        raise LaunchError(
            f"{plan.process.name} is to have no network, and there is one here; "
            "start it by its unit, with PrivateNetwork=yes"
        )


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
    """Launch the one process that `arguments` name, and do not return; or make everybody's directories.

    Raises `LaunchError`, `SettingsError`.
    """
    *options, name = arguments or ["-"]
    if arguments != [FOLDERS] and (options not in ([], [IN_PLACE]) or name.startswith("-")):
        raise LaunchError(f"usage: python -m netns.launch [{IN_PLACE}] PROCESS | {FOLDERS}")
    if os.geteuid() != 0:
        raise LaunchError("the launcher changes uids and namespaces and needs root; use: sudo egress up")
    settings = load()
    if name == FOLDERS:
        for process in processes(settings):
            wanted = folders(settings, process)
            _step(f"make directories of {process.name}", partial(_make_all, wanted))
        return
    launch(replace(prepare(settings, name, environment), in_place=IN_PLACE in options))


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
