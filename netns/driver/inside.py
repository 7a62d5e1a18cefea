"""Paths in dockerd's file system, which may be another than ours (`/proc/<dockerd>/root`)."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)


class TooManyLinks(OSError):
    """Symbolic links that lead round in a circle."""


class Exchangeable(OSError):
    """A directory on the way is not the operator's alone: where the path leads may change after we looked."""


def fixed_inside(root: Path, path: str, operator: int = 0) -> str:
    """As `resolve_inside`, for a path that dockerd will resolve once more: it must lead to the same place.

    Every directory in which a name of the path is looked up, links included, must belong to uid `operator`
    and let nobody else change entries (a sticky one protects those of others: inode(7)). What the path names
    at last may be anybody's. Raises `Exchangeable`, `TooManyLinks`.
    """

    def require_fixed(directory: Path) -> None:
        try:
            found = directory.stat()  # resolved already, so this follows `root` at most
        except FileNotFoundError:  # then nobody but who may change the one above can make it
            return
        open_to_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if found.st_uid != operator or open_to_others:
            raise Exchangeable(
                f"{path}: others than root may exchange entries of /{directory.relative_to(root)}; "
                "bind only what lies directly in a directory of root's"
            )

    return resolve_inside(root, path, require_fixed)


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
