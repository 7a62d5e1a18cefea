"""Debian systems made from signed packages for tests: once, then kept in one cache below `CACHE`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from tests.lab.turn import turn

CACHE = Path("/var/cache/egress-lab")
# The archive's snapshot of a moving suite may be older than its index allows; signatures still count.
_OPTIONS = (
    "--quiet", "--variant=minbase", '--aptopt=Acquire::Retries "3"',
    '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=force-unsafe-io",  # what is not finished is thrown away: 29 s instead of 36
)  # fmt: skip


def host_suite() -> str:
    """The release of this host."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def mirror() -> str:
    """The Debian archive that this host itself installs from. Raises `RuntimeError` when it has none."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT) $(SITE)"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        uri, component, *_ = line.split()
        if component == "main" and uri.rstrip("/").endswith("/debian"):
            return uri
    raise RuntimeError("no Debian archive among this host's apt sources; run: apt-get update")


def system(name: str, suite: str, packages: str) -> Path:
    """A Debian of `suite` with `packages` (commas between), as `CACHE/name`: an archive for *.tar, else a tree.

    It is finished under a name of its own first, so that what is there is whole.
    """
    path = CACHE / name
    with turn(name):
        return path if path.exists() else _make(path, name, suite, packages)


def _make(path: Path, name: str, suite: str, packages: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"new-{os.getpid()}-{path.name}")
    command = ["mmdebstrap", *_OPTIONS, f"--include={packages}", suite, str(draft), mirror()]
    said = ""
    for pause in (0, 5, 20):  # an archive that is being updated is whole again a moment later
        time.sleep(pause)
        try:
            done = subprocess.run(command, check=False, timeout=600, capture_output=True, text=True)
            if done.returncode == 0:
                draft.rename(path)
                return path
            said = done.stderr
        finally:
            if draft.is_dir():
                shutil.rmtree(draft)
            draft.unlink(missing_ok=True)
    raise RuntimeError(f"{name}: mmdebstrap failed three times, the last time with:\n{said[-2000:]}")
