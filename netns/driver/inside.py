"""Paths that dockerd will resolve once more after we have looked at them."""

from __future__ import annotations

import stat
from pathlib import Path

from appliance.docker_root import resolve_inside


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
