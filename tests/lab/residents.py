"""Containers of the lab that stay: to start one for every command would take most of a run's time."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.verify.case import Image, Output
from tests.lab import internet
from tests.lab.containers import HARDENED, IMAGES, address_of
from tests.lab.namespaces import LabError, run
from tests.lab.neighbour import PORT as NEIGHBOUR_PORT

SECONDS = 60.0
BACK_WITHIN = 60.0
STAYS = ("python3", "-u", "-c", Path(__file__).with_name("resident.py").read_text())
"""The command of one that runs what it is told."""


def until(holds: Callable[[], bool], otherwise: str, seconds: float = BACK_WITHIN) -> None:
    """Wait for `holds`. Raises `LabError` with `otherwise` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(otherwise)
        time.sleep(0.05)


class Resident:
    """A container that stays, and what has to be known of it while Docker answers nobody.

    It is started with its standard input kept open: what its first process is told there it runs inside the
    container, as `docker exec` would, also while the engine refuses every call.
    """

    def __init__(self, network: str, command: Sequence[str], listens: bool) -> None:  # noqa: FBT001
        self.name = f"{internet.PREFIX}resident-{secrets.token_hex(4)}"
        words = (
            "docker",
            "run",
            "-i",
            "--name",
            self.name,
            "--network",
            network,
            *HARDENED,
            IMAGES[Image.PYTHON],
        )
        self._docker = subprocess.Popen(
            (*words, *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lock = threading.Lock()
        try:
            self._until(
                lambda: run("docker", "inspect", "-f", "{{.State.Pid}}", self.name, check=False).strip() > "0"
            )
            facts = json.loads(run("docker", "inspect", self.name))[0]
            self.pid, self._log = int(facts["State"]["Pid"]), Path(facts["LogPath"])
            self.address = address_of(self.name)
            if listens:
                listening = self.inside("ss", "-Hltn")
                self._until(lambda: f":{NEIGHBOUR_PORT}" in run(*listening))
            else:
                self._answer()
        except BaseException:
            self.close()
            raise

    def _until(self, holds: Callable[[], bool]) -> None:
        until(lambda: self._docker.poll() is not None or holds(), f"{self.name} did not start")
        if self._docker.poll() is not None:
            assert self._docker.stdout is not None
            raise LabError(f"{self.name} ended: {self._docker.stdout.read()}")

    def close(self) -> None:
        """End it; it is removed by its label, with all of the lab's."""
        self._docker.kill()
        self._docker.communicate()

    @property
    def alive(self) -> bool:
        return self._docker.poll() is None

    def inside(self, *command: str) -> tuple[str, ...]:
        """`command` in its network namespace, with everything else the host's: what a free kernel could do."""
        return ("nsenter", f"--target={self.pid}", "--net", *command)

    def run(self, command: Sequence[str]) -> Output:
        """Run a command inside, as its workload."""
        with self._lock:
            assert self._docker.stdin is not None
            self._docker.stdin.write(json.dumps([SECONDS, *command]) + "\n")
            self._docker.stdin.flush()
            return self._answer()

    def _answer(self) -> Output:
        assert self._docker.stdout is not None
        line = self._docker.stdout.readline()
        if not line:
            raise LabError(f"{self.name} ended")
        status, text = json.loads(line)
        return Output(status, text)

    def said(self) -> str:
        """Its standard output so far, from Docker's own file: Docker may have gone silent."""
        with self._log.open(encoding="utf-8") as log:
            return "".join(json.loads(line)["log"] for line in log if line.endswith("\n"))
