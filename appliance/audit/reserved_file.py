"""An append-only file with disk space reserved ahead of its end, held by one process.

fallocate(2) with FALLOC_FL_KEEP_SIZE allocates blocks beyond the end without changing the size, so an append
that stays inside them cannot fail for want of space. A file system that cannot do it (EOPNOTSUPP) is refused:
there the promise would be empty.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

Reserve = Callable[[int, int, int], None]
"""Reserve space: descriptor, offset, length in octets. Raises `OSError`."""

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def reserve_beyond_end(descriptor: int, offset: int, length: int) -> None:
    """fallocate(2), size kept. Raises `OSError` (ENOSPC, EDQUOT, EFBIG, EOPNOTSUPP …)."""
    while _libc.fallocate(descriptor, _KEEP_SIZE, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def free_share(path: Path) -> float:
    """The part of the file system of `path` that is free for us (statvfs(3)), 0 to 1. Raises `OSError`."""
    status = os.statvfs(path)
    return status.f_bavail / max(1, status.f_blocks)


class ReservedFile:
    """`size` and `reserved_end` are octets from the beginning; `reserved_end` is at least `size`."""

    def __init__(self, path: Path, reserve: Reserve = reserve_beyond_end, *, empty: bool = False) -> None:
        """Open or create, mode 0640. Raises `OSError`; `BlockingIOError` when another process holds it."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags | (os.O_TRUNC if empty else 0), 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise
        self._reserve = reserve
        self.size = os.fstat(self._descriptor).st_size
        self.reserved_end = self.size

    def content(self) -> bytes:
        """Everything in the file."""
        return os.pread(self._descriptor, self.size, 0)

    def reserve_ahead(self, length: int) -> None:
        """Have at least `length` octets reserved behind the end. Raises `OSError`."""
        if self.reserved_end - self.size < length:
            self._reserve(self._descriptor, self.size, length)
            self.reserved_end = self.size + length

    def append(self, line: bytes) -> None:
        """Append all of `line`, or nothing and raise `OSError`."""
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            self.reserved_end = self.size
            raise
        self.size += written
        self.reserved_end = max(self.reserved_end, self.size)

    def give_back(self) -> None:
        """Give back what was reserved and not used. Raises `OSError`."""
        os.ftruncate(self._descriptor, self.size)
        self.reserved_end = self.size

    def close(self) -> None:
        """Give back what was reserved; what was written is on the disk afterwards. Raises `OSError`."""
        try:
            self.give_back()
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
