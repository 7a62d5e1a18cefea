"""The call by which root's commands find out whether the engine asks our plugin, and by which netd knows it.

It is a create call without a body, which the plugin always refuses. Such a call from anybody else is on
record as an attempt to slip past the plugin (CVE-2024-41110). So the probe bears a number for which a file
lies where only root can put one, for as long as the call lasts.
"""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TARGET = re.compile(r"/containers/create\?name=(egress-probe-[0-9a-f]{32})")


@contextmanager
def announced(run_dir: Path) -> Iterator[str]:
    """The request target of one probe, which netd knows inside the `with` if root may write to `run_dir`."""
    name = f"egress-probe-{secrets.token_hex(16)}"
    file = run_dir / name
    with suppress(OSError):
        file.touch(mode=0o600, exist_ok=False)
    try:
        yield f"/containers/create?name={name}"
    finally:
        file.unlink(missing_ok=True)


def is_announced(run_dir: Path, target: str, owner: int = 0) -> bool:
    """Whether root (or another `owner`) has announced the probe with this request target."""
    found = _TARGET.fullmatch(target)
    if found is None:
        return False
    try:
        status = (run_dir / found[1]).lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == owner
