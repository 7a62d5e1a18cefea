"""What runs in a container's network namespace, read from /proc (proc(5), namespaces(7))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netns.driver.process_status import number_inside, problems, roots_of

PROC = Path("/proc")
RUNC_STAGE = "runc:["  # the name that runc's own process has until it becomes the container's first


def is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted at `path`; all files of nsfs are on one device, and none else is."""
    try:
        return path.stat().st_dev == (PROC / "self/ns/net").stat().st_dev
    except OSError:
        return False


def runs_already(sandbox: Path) -> bool:
    """Whether a program of the container runs in its network namespace, or did and has gone.

    runc's own stages and dockerd's helpers in there are no programs of the container: the first are known by
    name and by an executable that is not in the container's root; the others by the host's process ids.
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
    try:
        # A process calls itself what it likes, also what is no text.
        if not _read(process / "comm").startswith(RUNC_STAGE):
            return False
        program, root, host = (process / "exe").stat(), (process / "root").stat(), Path("/").stat()
    except OSError:
        return False
    before_its_root = (root.st_dev, root.st_ino) == (host.st_dev, host.st_ino)
    return before_its_root or program.st_dev != root.st_dev
