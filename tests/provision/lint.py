"""ansible-lint over the collection, with every rule of its strictest profile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.provision.commands import Failed, run
from tests.provision.controller import ANSIBLE, PROGRAMS


def clean(folder: Path) -> str:
    """What it says of a copy below `folder`. Raises `Failed` where it finds anything.

    In place it would read Ansible's own environment beside the roles, for minutes.
    """
    copy = folder / "ansible_collections" / "egress" / "appliance"
    shutil.copytree(ANSIBLE, copy, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    words = ("--profile", "production", "--strict", "--offline", "--nocolor")
    environment = {
        **os.environ,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
    }
    script = f'cd "$0" && exec ansible-lint {" ".join(words)}'
    said = run("sh", "-ec", script, str(copy), within=570, check=False, environment=environment)
    passed = [line for line in (said.out + said.err).splitlines() if line.startswith("Passed:")]
    if said.status != 0 or not passed:
        raise Failed(said.out[-6000:] + said.err[-600:])
    return passed[-1]
