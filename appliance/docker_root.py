"""dockerd seen from here: its pid, and its paths, which may lie in another file system (`/proc/PID/root`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from appliance.listeners import listening_pid
from appliance.settings import DockerSettings

MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)

PID_FILE = "/var/run/docker.pid"
"""Where dockerd writes its pid, in its own file system, unless told otherwise."""

_INIT = 1


class TooManyLinks(OSError):
    """Symbolic links that lead round in a circle."""


def engine_pid(docker: DockerSettings, within: float = 2.0) -> int | None:
    """Pid of dockerd, or None when nobody listens on its socket or it cannot be told.

    It is the process that listens; where systemd does that for it (socket activation), the one that its pid
    file names. `within` and `PermissionError` as for `listening_pid`.
    """
    pid = listening_pid(str(docker.socket), within)
    if pid != _INIT:
        return pid
    try:
        text = seen_from_here(docker.root, PID_FILE).read_text(encoding="ascii").strip()
        return int(text) or None if text.isdigit() else None
    except (OSError, ValueError):
        return None


def _anything(directory: Path) -> None:
    del directory


def resolve_inside(root: Path, path: str, visit: Callable[[Path], None] = _anything) -> str:
    """`path` with every symbolic link resolved as a process with `root` as its root directory would.

    The answer is a path below that root, again beginning with `/`. What does not exist is kept as it is.
    Opening `root / path` would not do: an absolute link in it leads to our own root directory.
    `visit` is called with each directory before a name is looked up in it. Raises `TooManyLinks`.
    """
    done = PurePosixPath("/")
    todo = list(reversed(PurePosixPath(path).parts))
    links = 0
    while todo:
        part = todo.pop()
        if part == "/":
            done = PurePosixPath("/")
        elif part == "..":
            done = done.parent
        else:
            visit(root / done.relative_to("/"))
            here = root / done.relative_to("/") / part
            try:
                target = here.readlink()
            except OSError:  # no link, or not there
                done /= part
                continue
            links += 1
            if links > MAX_LINKS:
                raise TooManyLinks(f"{path}: too many symbolic links")
            todo.extend(reversed(PurePosixPath(target).parts))
    return str(done)


def seen_from_here(root: Path, path: str) -> Path:
    """Where we find dockerd's `path`. Raises `TooManyLinks`."""
    return root / resolve_inside(root, path).lstrip("/")
