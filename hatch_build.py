"""Build hook of hatchling: the commit that a wheel or sdist is built from goes into it, as `BUILD_ID`.

What is installed reads that file and never asks git: the checkout beside it may be another's.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD_ID = "appliance/cli/build_id"
UNKNOWN = "unknown"
CHANGED = "+changes"


def build_id(root: Path) -> str:
    """The commit at `root`, with `+changes` where the tree is another; without a commit `unknown`.

    An unpacked sdist brings the id of its own build, also when it lies in somebody's checkout.
    """
    brought = root / BUILD_ID
    if brought.is_file():
        return brought.read_text(encoding="ascii").strip()
    if _git(root, "rev-parse", "--show-toplevel") != str(root.resolve()):
        return UNKNOWN
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or changes is None:
        return UNKNOWN
    return commit + CHANGED if changes else commit


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


class BuildId(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the file to what is built; an editable installation has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling calls this before it collects files; `version` is `standard` or `editable`."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "build_id"
        file.write_text(build_id(Path(self.root)) + "\n", encoding="ascii")
        build_data["force_include"][str(file)] = BUILD_ID

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Hatchling calls this when the file is written."""
        del build_data, artifact_path
        if version != "editable":
            self._folder.cleanup()
