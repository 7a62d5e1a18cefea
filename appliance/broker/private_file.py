"""Files that hold keys: published whole or not at all, read only when nobody else could have touched them."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from pathlib import Path

MAX_FILE = 64 * 1024

_ACL = "system.posix_acl_access"
_ACL_VERSION = 4  # octets (linux/posix_acl_xattr.h)
_ACL_ENTRY = struct.Struct("<HHI")  # tag, permissions, id
_OWNER, _USER, _GROUP, _MASK, _OTHERS = 0x01, 0x02, 0x04, 0x10, 0x20
_READ = 4


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


def read_given(path: Path) -> bytes:
    """The content of a credential of systemd's, which nobody but root and we may read, and nobody write.

    systemd.exec(5), LoadCredential=. It is root's with an ACL for our uid, or, where the file system knows
    none, our own. Raises `PrivateFileError`, `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        ours = found.st_uid in {0, os.geteuid()} and stat.S_ISREG(found.st_mode)
        alone = stat.S_IMODE(found.st_mode) == stat.S_IRUSR or _reads_by_acl(descriptor, os.geteuid())
        if not ours or not alone:
            raise PrivateFileError(
                f"{path}: not what systemd makes for the broker alone (uid {found.st_uid}, mode "
                f"{stat.S_IMODE(found.st_mode):04o}); start the broker by its unit"
            )
        return stream.read(MAX_FILE)


def _reads_by_acl(descriptor: int, uid: int) -> bool:
    """Whether the file's ACL lets its owner and `uid` read, and does nothing else (acl(5))."""
    try:
        octets = os.getxattr(descriptor, _ACL)
    except OSError:
        return False
    entries = [
        (tag, rights, who if tag == _USER else None)
        for tag, rights, who in _ACL_ENTRY.iter_unpack(octets[_ACL_VERSION:])
    ]
    wanted = {
        (_OWNER, _READ, None), (_USER, _READ, uid), (_GROUP, 0, None), (_MASK, _READ, None),
        (_OTHERS, 0, None),
    }  # fmt: skip
    return len(entries) == len(wanted) and set(entries) == wanted


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
