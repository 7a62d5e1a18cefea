"""A tenant's container that never stops asking, and what it and the origin say about it afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.provision.cache import RUNNER
from tests.provision.commands import Failed

if TYPE_CHECKING:
    from tests.provision.target import Target

LOOPER = Path(__file__).resolve().parents[1] / "lab" / "looper.py"
SITE, SITE_ADDRESS = "www.example.com", "93.184.215.10"
NAME = "loop"
HARDENED = (
    "--user", "1000:1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
    "--tmpfs", "/tmp", "--pids-limit", "256", "--memory", "512m",
)  # fmt: skip
FORBIDDEN = ("10.0.1.5", "169.254.169.254", "45.33.32.156")
"""Where the looper sends what must go nowhere (see `tests/lab/looper.py`)."""
MOST_FAILED, LONGEST_GAP = 0.02, 30.0
"""Of an upgrade's requests, and seconds without an answer: on a machine that installs packages meanwhile."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests of one span of time, in seconds since the epoch: (start, end) of each."""

    good: list[tuple[float, float]]
    bad: list[tuple[float, float]]
    trespasses: int

    @property
    def longest_gap(self) -> float:
        """Seconds between the ends of two good requests that follow one another."""
        ends = sorted(end for _, end in self.good)
        return max((after - before for before, after in pairwise(ends)), default=0.0)

    def bearable(self) -> bool:
        """Whether somebody who tries again would hardly have noticed."""
        total = len(self.good) + len(self.bad)
        return bool(self.good) and len(self.bad) <= MOST_FAILED * total and self.longest_gap <= LONGEST_GAP

    def __str__(self) -> str:
        total = len(self.good) + len(self.bad)
        return f"{len(self.bad)} of {total} requests failed, longest gap {self.longest_gap:.2f} s"


def load_image(target: Target) -> None:
    """The runner image for the target's own engine."""
    target.run("docker", "load", "--quiet", "--input", "/srv/images/runner-python.tar", within=180)


def start(target: Target, network: str) -> None:
    """A hardened container that asks for a page and, apart from that, trespasses; it comes back after a reboot."""
    target.run(
        "docker", "run", "--detach", "--name", NAME, "--restart", "always", "--network", network, *HARDENED,
        f"{RUNNER}:latest", "python3", "-u", "-c", LOOPER.read_text(encoding="utf-8"), SITE, "1000000",
    )  # fmt: skip


def remove(target: Target) -> None:
    """The container, if there is one."""
    target.run("docker", "rm", "--force", NAME, check=False)


def asked(target: Target, since: float, until: float = float("inf")) -> Asked:
    """What the container says of its requests that began between two moments of the target's clock."""
    lines = target.run("docker", "logs", "--since", str(int(since)), NAME, within=60).out.splitlines()
    found = Asked([], [], 0)
    trespasses = 0
    for line in lines:
        word, *numbers = line.split()
        if word == "sent" and len(numbers) == 2 and since <= float(numbers[0]) <= until:
            trespasses += int(numbers[1])
        elif word in {"ok", "no"} and len(numbers) == 2 and since <= float(numbers[0]) <= until:
            (found.good if word == "ok" else found.bad).append((float(numbers[0]), float(numbers[1])))
    return Asked(found.good, found.bad, trespasses)


def started_once(target: Target) -> str:
    """As `started_at`, of a container that the engine did not have to start again. Raises `Failed`."""
    count = int(target.run("docker", "inspect", "--format", "{{.RestartCount}}", NAME).out)
    if count:
        raise Failed(f"{NAME} was started again {count} times")
    return started_at(target)


def started_at(target: Target) -> str:
    """When the engine started the container, RFC 3339."""
    state = json.loads(target.run("docker", "inspect", "--format", "{{json .State}}", NAME).out)
    if not state["Running"]:
        raise Failed(f"{NAME} does not run: {state}; {target.run('docker', 'logs', NAME, check=False).last}")
    return str(state["StartedAt"])
