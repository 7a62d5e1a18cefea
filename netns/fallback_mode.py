"""An operator's word about the fallback, kept in a file of root's so that netd, started anew, goes by it.

No file means that nothing was said. One that is not as netd writes it counts as `off`: the fallback serves
nobody, whatever becomes of the workers, until somebody says what was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netns import root_file
from netns.shares import Mode

FILE = "fallback-mode"
LONGEST = 16


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
            written = root_file.read(self._file, self._owner, LONGEST)
        except root_file.NotBelieved as error:
            return self._broken(str(error))
        if written is None:
            return NOTHING_SAID
        for mode in Mode:
            if written == _line(mode):
                return Kept(mode)
        return self._broken("holds no mode")

    def keep(self, mode: Mode) -> None:
        """Go by `mode` from the next start on. Raises `OSError`."""
        if mode is Mode.AUTO:
            self.forget()
            return
        root_file.replace(self._file, _line(mode), 0o644)

    def forget(self) -> None:
        """Nothing is said any more. Raises `OSError`."""
        self._file.unlink(missing_ok=True)

    def _broken(self, why: str) -> Kept:
        return Kept(Mode.OFF, f"{self._file}: {why}; say what is meant: egress fallback on|off|auto")


def _line(mode: Mode) -> bytes:
    return f"{mode.value}\n".encode("ascii")
