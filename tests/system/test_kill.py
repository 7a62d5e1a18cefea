"""`kill -9` of each process while a container loops requests and raw packets (A21, 004-02, 004-27).

Nothing reaches a canary, and service is back without the container being restarted. The workload's own log shows
that it really sent forbidden packets while the process was away, and which requests were under way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import settings as settings_module
from appliance.listeners import listening_pid
from appliance.processes import SUPERVISOR, processes
from appliance.verify.case import Image
from tests.lab import internet
from tests.lab.appliance import SETTINGS_FILE, Appliance
from tests.lab.containers import IMAGES, logs_of, start_hardened
from tests.lab.evidence import Origin, Packets
from tests.lab.lab import Lab
from tests.lab.namespaces import run

pytestmark = pytest.mark.system

LOOPER = (Path(__file__).parents[1] / "lab" / "looper.py").read_text()
LIFETIME = 280
OUTAGE = 1.5  # seconds: the supervisor is held that long, or it would be over at once
BACK_WITHIN = 20.0
NAMES = [p.name for p in processes(settings_module.Settings())]
GATEWAYS = tuple(name for name in NAMES if name.startswith("gateway"))
VICTIMS = {**{name: (name,) for name in NAMES}, "all-gateways": GATEWAYS, "every-process": tuple(NAMES)}
IN_THE_WAY = ("resolver", "all-gateways", "every-process")  # no request can be answered without them
FORBIDDEN = [Packets(address) for address in (internet.PRIVATE, internet.METADATA, internet.LITERAL)]


@dataclass(frozen=True, slots=True)
class Round:
    """One request of the workload, with the time from which and until which it was under way."""

    good: bool
    start: float
    end: float


@pytest.fixture(scope="module")
def looping(appliance: Appliance) -> Iterator[str]:
    command = ("python3", "-c", LOOPER, internet.WWW.name, str(LIFETIME))
    container = start_hardened("lab-acme", IMAGES[Image.PYTHON], command)
    wait_for_ok(container, time.time())
    yield container
    run("docker", "rm", "-f", container, check=False)


def rounds(container: str) -> list[Round]:
    words = [line.split() for line in logs_of(container).splitlines()]
    return [
        Round(w[0] == "ok", float(w[1]), float(w[2])) for w in words if len(w) == 3 and w[0] in ("ok", "no")
    ]


def sent_between(container: str, start: float, end: float) -> int:
    """Forbidden packets that the workload's kernel took in that time."""
    words = [line.split() for line in logs_of(container).splitlines()]
    return sum(int(w[2]) for w in words if len(w) == 3 and w[0] == "sent" and start < float(w[1]) < end)


def wait_for_ok(container: str, since: float, within: float = BACK_WITHIN) -> None:
    """Until a request that began after `since` was answered."""
    deadline = time.time() + within
    while time.time() < deadline:
        if any(r.good and r.start > since for r in rounds(container)):
            return
        time.sleep(0.1)
    raise AssertionError(f"no answered request within {within} s: {rounds(container)[-5:]}")


def control(name: str) -> str:
    return str(settings_module.load(Path(SETTINGS_FILE)).control_socket(name))


def wait_for_new(name: str, old: int) -> int:
    deadline = time.time() + BACK_WITHIN
    while time.time() < deadline:
        pid = listening_pid(control(name))
        if pid not in (None, old):
            assert pid is not None
            return pid
        time.sleep(0.05)
    raise AssertionError(f"{name} was not started again")


def forbidden_hits() -> int:
    return sum(packets.hits(Origin.WORKLOAD) for packets in FORBIDDEN)


def test_the_canaries_are_alive(lab: Lab) -> None:
    for address in (internet.PRIVATE, internet.METADATA, internet.LITERAL):
        assert lab.probe("tcp", address, "80", "GET / HTTP/1.0\\r\\n\\r\\n").returncode == 0


@pytest.mark.parametrize("victims", VICTIMS)
def test_what_was_killed_comes_back_and_nothing_got_past(lab: Lab, looping: str, victims: str) -> None:
    before = forbidden_hits()
    supervisor = listening_pid(control(SUPERVISOR))
    old = {name: listening_pid(control(name)) for name in VICTIMS[victims]}
    assert supervisor is not None
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for pid in old.values():
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        killed_at = time.time()
        time.sleep(OUTAGE)  # the outage itself, not a wait for something
        over_at = time.time()
    finally:
        os.kill(supervisor, signal.SIGCONT)
    for name, pid in old.items():
        assert pid is not None
        wait_for_new(name, pid)
    wait_for_ok(looping, time.time())
    lab.settle()
    assert sent_between(looping, killed_at, over_at) >= 20
    assert forbidden_hits() == before
    if victims in IN_THE_WAY:
        felt = [r for r in rounds(looping) if r.start < over_at and r.end > killed_at]
        assert felt, "the workload asked nothing during the outage"
        assert not [r for r in felt if r.good and r.start > killed_at and r.end < over_at]


def test_without_its_supervisor_it_goes_on_and_the_next_up_takes_over(
    lab: Lab, appliance: Appliance, looping: str
) -> None:
    before = forbidden_hits()
    pid = listening_pid(control(SUPERVISOR))
    assert pid is not None
    killed_at = time.time()
    os.kill(pid, signal.SIGKILL)
    wait_for_ok(looping, time.time())
    appliance.egress("up", seconds=90)
    assert sent_between(looping, killed_at, time.time()) >= 20
    assert listening_pid(control(SUPERVISOR)) not in (None, pid)
    wait_for_ok(looping, time.time())
    lab.settle()
    assert forbidden_hits() == before


def test_a_second_up_is_refused_and_changes_nothing(appliance: Appliance, looping: str) -> None:
    pid = listening_pid(control(SUPERVISOR))
    done = appliance.egress("up", check=False)
    assert done.returncode != 0
    assert "already up" in done.stderr
    assert listening_pid(control(SUPERVISOR)) == pid
    wait_for_ok(looping, time.time())


def test_after_everything_died_at_once_the_next_up_brings_all_back(
    lab: Lab, appliance: Appliance, looping: str
) -> None:
    """As after a boot: Docker answers no call, for its admission plugin is down, and `up` mends that.

    dockerd asks a plugin for 30 s before it refuses (tests/system/docker/test_docker_lifecycle.py waits for that).
    """
    before = forbidden_hits()
    for name in (SUPERVISOR, *NAMES):
        pid = listening_pid(control(name))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["docker", "ps"], capture_output=True, timeout=3, check=False)
    appliance.egress("up", seconds=120)
    wait_for_ok(looping, time.time())
    lab.settle()
    assert forbidden_hits() == before
