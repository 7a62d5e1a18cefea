"""Small files by which netd, started anew, goes on; believed only if none but root can have written them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


class NotBelieved(ValueError):
    """The file is not as netd leaves it; `str()` says why."""


def read(file: Path, owner: int, longest: int) -> bytes | None:
    """Its content, at most `longest` octets; None where there is none. Raises `NotBelieved`."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotBelieved(str(error.strerror)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotBelieved("no regular file")
        if status.st_uid != owner or status.st_mode & _WRITABLE:
            raise NotBelieved(f"others than uid {owner} may have written it")
        if status.st_size > longest:
            raise NotBelieved(f"longer than {longest} octets")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(longest)
    finally:
        os.close(descriptor)


def replace(file: Path, content: bytes, mode: int) -> None:
    """Let the file hold `content` and nothing else, also after a loss of power. Raises `OSError`."""
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
