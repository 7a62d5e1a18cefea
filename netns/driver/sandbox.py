"""What runs in a container's network namespace, read from /proc (proc(5), namespaces(7))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netns.driver.process_status import number_inside, problems, roots_of

PROC = Path("/proc")
RUNC_STAGE = "runc:["  # the name that runc's own process has until it becomes the container's first
_FORKNOEXEC = 0x40  # PF_FORKNOEXEC, linux/sched.h


def is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted at `path`; all files of nsfs are on one device, and none else is."""
    try:
        return path.stat().st_dev == (PROC / "self/ns/net").stat().st_dev
    except OSError:
        return False


def runs_already(sandbox: Path) -> bool:
    """Whether a program of the container runs in its network namespace, or did and has gone.

    runc's own process and dockerd's helpers in there are no programs of the container: for the first see
    `_is_runc`; the others have the host's process ids.
    """
    try:
        wanted = sandbox.stat().st_ino
    except OSError:
        return True  # gone already, so whatever there was has run
    ours = (PROC / "self/ns/pid").readlink()
    found = [process for process in _in_namespace(wanted) if _has_own_pids(process, ours)]
    return not found or not all(_is_runc(process) for process in found)


@dataclass(frozen=True, slots=True)
class FirstProcess:
    """Number 1 of a container. `runs`: it is past runc, so `problems` (see `process_status`) are its own."""

    runs: bool
    problems: tuple[str, ...]


def first_process(sandbox: Path) -> FirstProcess | None:
    """The first process of the container in a network namespace; None when there is none (yet, or any more).

    Found by what the kernel knows, the namespaces: a process id in Docker's words would be one of dockerd's
    pid namespace, and could be another process's by now.
    """
    try:
        wanted = sandbox.stat().st_ino
    except OSError:
        return None
    ours = (PROC / "self/ns/pid").readlink()
    found: dict[int, FirstProcess] = {}
    for process in _in_namespace(wanted):
        if not _has_own_pids(process, ours):
            continue
        runs = not _is_runc(process)  # before its status is read: the last that runc does is to become it
        try:
            status, uids, gids = (_read(process / name) for name in ("status", "uid_map", "gid_map"))
            (process / "exe").stat()  # one that is ending has no program, and its status says little
        except OSError:  # it has ended
            continue
        number, depth = number_inside(status)
        if number == 1:
            found.setdefault(depth, FirstProcess(runs, problems(status, roots_of(uids, gids))))
    return found[min(found)] if found else None  # a deeper one is the container's own doing


def has_executed(stat: str) -> bool:
    """Whether the main thread of a process has called execve(2) since it was cloned: proc(5), stat, flags.

    The kernel sets PF_FORKNOEXEC on what it clones, clears it in execve(2), and has no call that sets it.
    Raises `ValueError`.
    """
    _, _, fields = stat.rpartition(")")  # the name before it is the process's own choice
    try:
        return not int(fields.split()[6]) & _FORKNOEXEC
    except IndexError:
        raise ValueError("that is no stat of a process") from None


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace")


def _in_namespace(inode: int) -> Iterator[Path]:
    # Plain strings: 0.45 ms for 100 processes, with a Path for each 0.9, and a start takes ten looks.
    for name in os.listdir(PROC):  # noqa: PTH208 - as above
        if name.isdigit():
            try:
                if os.stat(f"{PROC}/{name}/ns/net").st_ino == inode:  # noqa: PTH116 - as above
                    yield PROC / name
            except OSError:  # it has ended
                continue


def _has_own_pids(process: Path, ours: Path) -> bool:
    try:
        return (process / "ns/pid").readlink() != ours
    except OSError:
        return False


def _is_runc(process: Path) -> bool:
    """Whether it is runc's own process, which becomes the container's first by executing its program.

    runc clones it to be number 1 of the container's pid namespace, and it executes nothing before. So nothing
    that the container chooses decides: neither a name nor where an executable lies, as on a volume or in a
    memfd. What the container's program forks has not executed anything either, and is not number 1.
    """
    try:
        stat, status = _read(process / "stat"), _read(process / "status")
        named = stat.partition("(")[2].startswith(RUNC_STAGE)
        return named and not has_executed(stat) and number_inside(status)[0] == 1
    except (OSError, ValueError):  # it has ended
        return False
