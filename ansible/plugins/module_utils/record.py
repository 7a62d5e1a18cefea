"""What provisioning brought to a host, kept there: removal takes away that, and nothing else.

One file for each role, a JSON object with a section for each module. It is written before the change that it
tells of, so that a run which is cut off half-way can still be taken back.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


class RecordError(Exception):
    """The record cannot be used; the text says what to do."""


class Record:
    """The record at `path`, which need not exist yet."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def section(self, name: str) -> dict[str, Any]:
        """What the module `name` keeps; empty when that is nothing. Raises `RecordError`."""
        section = self._whole().get(name, {})
        if not isinstance(section, dict):
            raise RecordError(f"{self._path}: {name} is no object; restore the file from a backup")
        return section

    def keep(self, name: str, section: dict[str, Any]) -> None:
        """Put `section` in the place of the module's; an empty one is forgotten, and an empty record, too.

        Raises `RecordError`.
        """
        whole = {**self._whole(), name: section}
        if not section:
            del whole[name]
        if whole:
            self.replace(self._path, json.dumps(whole, indent=2, sort_keys=True) + "\n", mode=0o600)
        else:
            self._path.unlink(missing_ok=True)

    def _whole(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        try:
            whole = json.loads(self._path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecordError(f"{self._path} is not JSON ({error}); restore it from a backup") from error
        if not isinstance(whole, dict):
            raise RecordError(f"{self._path} is no JSON object; restore it from a backup")
        return whole

    @staticmethod
    def replace(path: Path, text: str, *, mode: int) -> None:
        """The whole file or none of it, on the disk when this returns; its owner stays.

        A new directory is root's alone.
        """
        owner = path.stat() if path.exists() else None
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                if owner is not None:
                    os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
