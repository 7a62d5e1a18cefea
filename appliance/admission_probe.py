"""The call by which root's commands find out whether the engine asks our plugin, and by which netd knows it.

It asks for a container that nobody has, which changes nothing and which every plugin admits, those of other
instances too: an engine asks them in turn and ends at the first refusal. The one refuses for which a file of
that name lies where only root can put one, for as long as the call lasts.
"""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TARGET = re.compile(r"/containers/(egress-probe-[0-9a-f]{32})/json")


@contextmanager
def announced(run_dir: Path) -> Iterator[str]:
    """The target of one GET, which netd knows and refuses inside the `with`. Raises `OSError`.

    Without a `run_dir` there is no netd that could know it.
    """
    name = f"egress-probe-{secrets.token_hex(16)}"
    file = run_dir / name
    with suppress(FileNotFoundError):
        file.touch(mode=0o600, exist_ok=False)
    try:
        yield f"/containers/{name}/json"
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
