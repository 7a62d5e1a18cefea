"""An operator's word about the fallback, kept in a file of root's so that netd, started anew, goes by it.

No file means that nothing was said. One that is not as netd writes it counts as `off`: the fallback serves
nobody, whatever becomes of the workers, until somebody says what was meant.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from netns.shares import Mode

FILE = "fallback-mode"
LONGEST = 16
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in force from the start; `problem` says why the file was not believed."""

    mode: Mode = Mode.AUTO
    problem: str = ""


NOTHING_SAID = Kept()


class ModeFile:
    """The file, in the directory of the instance's sockets: gone with the machine, and with `egress down`."""

    def __init__(self, directory: Path, owner: int = 0) -> None:
        self._file = directory / FILE
        self._owner = owner

    def read(self) -> Kept:
        """What was said last."""
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return NOTHING_SAID
        except OSError as error:
            return self._broken(str(error.strerror))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return self._broken("no regular file")
            if status.st_uid != self._owner or status.st_mode & _WRITABLE:
                return self._broken(f"others than uid {self._owner} may have written it")
            written = os.read(descriptor, LONGEST + 1)
        finally:
            os.close(descriptor)
        for mode in Mode:
            if written == _line(mode):
                return Kept(mode)
        return self._broken("holds no mode")

    def keep(self, mode: Mode) -> None:
        """Go by `mode` from the next start on. Raises `OSError`."""
        if mode is Mode.AUTO:
            self.forget()
            return
        draft = self._file.with_name(f".{FILE}.draft")
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, 0o644), "wb") as stream:
            stream.write(_line(mode))
        draft.replace(self._file)

    def forget(self) -> None:
        """Nothing is said any more. Raises `OSError`."""
        self._file.unlink(missing_ok=True)

    def _broken(self, why: str) -> Kept:
        return Kept(Mode.OFF, f"{self._file}: {why}; say what is meant: egress fallback on|off|auto")


def _line(mode: Mode) -> bytes:
    return f"{mode.value}\n".encode("ascii")
