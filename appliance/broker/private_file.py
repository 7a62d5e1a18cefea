"""Files that hold keys: published whole or not at all, read only when nobody else could have touched them."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

MAX_FILE = 64 * 1024


class PrivateFileError(Exception):
    """The file is not what it must be; `str()` is one sentence that names it, and the mend."""


def read_private(path: Path) -> bytes:
    """The content of a regular file of our own uid that nobody else may use.

    Checked on the open descriptor, not on the name. Raises `PrivateFileError`, `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PrivateFileError(f"{path}: not a regular file; restore it")
        if found.st_uid != os.geteuid():
            raise PrivateFileError(f"{path}: owned by uid {found.st_uid}; run: chown {os.geteuid()} {path}")
        if found.st_mode & 0o077:
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            raise PrivateFileError(f"{path}: mode {mode} lets others read it; run: chmod 600 {path}")
        return stream.read(MAX_FILE)


def publish(directory: Path, name: str, content: bytes, mode: int) -> None:
    """Create `name` with `content`, whole or not at all and synced; never replaces. Raises `OSError`."""
    draft = directory / draft_name(name)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        os.link(draft, directory / name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    _sync_directory(directory)


def draft_name(name: str) -> str:
    """What `name` is called until it is whole; a crash may leave it behind."""
    return f".{name}.new"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
