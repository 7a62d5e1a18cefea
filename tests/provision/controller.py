"""Ansible as an operator runs it: from an environment of its own, with the collection built and installed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.provision.commands import ROOT, Failed, Said, run
from tests.provision.target import Target

ANSIBLE = ROOT / "ansible"
PROGRAMS = ANSIBLE / ".venv" / "bin"
_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Played:
    """How a playbook ended on the one host: its counts, its exit status, all that it said."""

    counts: dict[str, int]
    said: Said
    log: Path

    def held(self) -> Played:
        """Itself. Raises `Failed` where a task failed or was ignored."""
        bad = {name: self.counts.get(name, 0) for name in ("failed", "unreachable", "rescued", "ignored")}
        if self.said.status != 0 or not self.counts or any(bad.values()):
            raise Failed(f"status {self.said.status}, {bad}; {self.log}:\n{self.reason}")
        return self

    def failed(self) -> str:
        """Why it ended. Raises `Failed` where it did not reach the host, or no task on it failed."""
        if self.said.status == 0 or self.counts.get("failed") != 1 or self.counts.get("unreachable") != 0:
            raise Failed(f"status {self.said.status}, {self.counts}; {self.log}:\n{self.reason}")
        return self.reason

    def refused(self, *words: str) -> str:
        """Why it ended. Raises `Failed` where no task failed, or something was changed, or `words` are not said
        where it says why."""
        reason = self.failed()
        if self.counts.get("changed") != 0:
            raise Failed(f"{self.counts}; {self.log}:\n{reason}")
        missing = [word for word in words if word not in reason]
        if missing:
            raise Failed(f"does not say {missing}; {self.log}:\n{reason}")
        return reason

    @property
    def reason(self) -> str:
        """What the failed tasks said."""
        found = re.findall(r"^(?:fatal|failed): .*?(?=^\S|\Z)", self.said.out, re.MULTILINE | re.DOTALL)
        text = "\n".join(found) or self.said.last
        return text if len(text) < 3000 else text[:1500] + " … " + text[-1400:]


class Controller:
    """Where playbooks are run from; `folder` is its own, for the installed collection, inventories and logs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logs = 0
        (folder / "ansible.cfg").touch()

    def install(self) -> str:
        """Build the collection and install it, as from a server of collections. Raises `Failed`."""
        run(str(ANSIBLE / "setup"), within=900)
        built = self._folder / "built"
        self._galaxy("collection", "build", "--force", "--output-path", str(built), str(ANSIBLE))
        (archive,) = built.glob("*.tar.gz")
        self._galaxy(
            "collection",
            "install",
            "--offline",
            "--force",
            "-p",
            str(self._folder / "collections"),
            str(archive),
        )
        return archive.name

    def play(
        self, target: Target, playbook: str, variables: dict[str, Any], *words: str, within: float = 900
    ) -> Played:
        """Run one playbook of the collection against one host."""
        self._logs += 1
        settings = {
            "ansible_connection": "community.docker.docker",
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            **variables,
        }
        inventory = self._folder / "inventory.json"
        inventory.write_text(json.dumps({"egress": {"hosts": {target.name: settings}}}), encoding="utf-8")
        said = run(
            str(PROGRAMS / "ansible-playbook"), "--inventory", str(inventory), f"egress.appliance.{playbook}", *words,
            within=within, check=False, environment=self._environment(),
        )  # fmt: skip
        log = self._folder / f"{self._logs:02}-{target.release.name}-{playbook}.log"
        log.write_text(said.out + said.err, encoding="utf-8")
        return Played(_counts(said.out, target.name), said, log)

    def _galaxy(self, *words: str) -> None:
        run(str(PROGRAMS / "ansible-galaxy"), *words, within=120, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        """Nothing of the operator's own configuration."""
        return {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._folder / "collections"),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        }


def _counts(text: str, host: str) -> dict[str, int]:
    for name, counts in _RECAP.findall(text):
        if name == host:
            return {key: int(value) for key, value in (pair.split("=") for pair in counts.split())}
    return {}
