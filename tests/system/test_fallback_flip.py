"""The gateway's workers die under load and Squid serves in their place, never more than policy allows (G8, A21).

The workload asks its proxy in loops: a GET that every layer allows, a POST that none does. What it printed says
who answered when; the sites' own log says that no POST arrived, the canaries that nothing went past.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import ipc
from appliance import settings as settings_module
from appliance.listeners import listening_pid
from appliance.processes import SQUID, SUPERVISOR, worker_names
from appliance.verify.case import Origin
from tests.lab import internet
from tests.lab.appliance import DIRECTORIES, SETTINGS_FILE, Appliance
from tests.lab.containers import run_hardened, start_hardened
from tests.lab.evidence import Packets, Requests
from tests.lab.lab import GATEWAY, Lab
from tests.lab.namespaces import run
from tests.lab.policies import READER

pytestmark = pytest.mark.system

LOOPER = (Path(__file__).parents[1] / "lab" / "proxy_looper.py").read_text()
TRESPASSER = (Path(__file__).parents[1] / "lab" / "looper.py").read_text()
CONTAINERS = int(os.environ.get("EGRESS_FLIP_CONTAINERS", "4"))
LOOPS = 32  # in all of them together
LIFETIME = 200
FLIP_WITHIN = 1.0
BACK_WITHIN = 30.0
FORBIDDEN = [Packets(address) for address in (internet.PRIVATE, internet.METADATA, internet.LITERAL)]
IMAGE = "egress/runner-python"


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of the workload: what came of it, and from when to when it was under way."""

    what: str
    start: float
    end: float


def _answer(line: str) -> Answer:
    *what, start, end = line.split()
    return Answer(" ".join(what), float(start), float(end))


class Workload:
    """Containers in loops."""

    def __init__(self) -> None:
        arguments = (internet.WWW.name, str(LIFETIME), str(max(1, LOOPS // CONTAINERS)))
        self.containers = [
            start_hardened(READER, IMAGE, ("python3", "-c", LOOPER, *arguments)) for _ in range(CONTAINERS)
        ]
        self.trespasser = start_hardened(
            READER, IMAGE, ("python3", "-c", TRESPASSER, internet.WWW.name, str(LIFETIME))
        )
        logs = run("docker", "inspect", "-f", "{{.LogPath}}", *self.containers).split()
        self._logs = {Path(log): 0 for log in logs}  # read so far; asking Docker takes as long as the log
        self._answers: list[Answer] = []

    def answers(self) -> list[Answer]:
        for log, start in self._logs.items():
            with log.open("rb") as lines:
                lines.seek(start)
                whole, newline, _half = lines.read().rpartition(b"\n")
            self._logs[log] += len(whole) + len(newline)
            self._answers += [_answer(json.loads(line)["log"]) for line in whole.split(b"\n") if line]
        return self._answers

    def after(self, moment: float, what: str = "") -> list[Answer]:
        """Begun after `moment`."""
        return [a for a in self.answers() if a.start > moment and a.what.startswith(what)]

    def remove(self) -> None:
        run("docker", "rm", "-f", *self.containers, self.trespasser, check=False, timeout=60)


def until(holds: Callable[[], object], why: str, within: float = BACK_WITHIN) -> None:
    deadline = time.time() + within
    while not holds():
        assert time.time() < deadline, why
        time.sleep(0.1)


@pytest.fixture(scope="module")
def loops(appliance: Appliance) -> Iterator[Workload]:
    workload = Workload()
    try:
        now = time.time()
        until(lambda: len(workload.after(now, "refused-by gateway")) >= LOOPS, "the workload does not run")
        yield workload
    finally:
        workload.remove()


def control(name: str) -> str:
    return str(settings_module.load(Path(SETTINGS_FILE)).control_socket(name))


def pid_of(name: str) -> int:
    pid = listening_pid(control(name))
    assert pid is not None, f"{name} does not run"
    return pid


WORKERS = worker_names(settings_module.Settings())


@contextmanager
def killed(*names: str) -> Iterator[float]:
    """Without these processes, which their supervisor is kept from starting anew; gives the time of their end."""
    supervisor = pid_of(SUPERVISOR)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for name in names:
            os.kill(pid_of(name), signal.SIGKILL)
        yield time.time()
    finally:
        os.kill(supervisor, signal.SIGCONT)


def netd() -> ipc.Message:
    return ipc.ask(control("netd"), {"op": "status"})


def stands_by() -> bool:
    return bool(netd()["fallback"] == "stands by")


def lifecycle(event: str) -> list[dict[str, str]]:
    """netd's records of one kind."""
    found = []
    for file in sorted((DIRECTORIES["log_dir"] / "audit" / "netd").glob("*.jsonl")):
        lines = (line for line in file.read_bytes().split(b"\n") if line.strip(b"\0 "))
        found += [r for r in map(json.loads, lines) if r.get("event") == event]
    return found


class Trespass:
    """What reached a canary or a site that it must not, since this was made."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._posts = Requests(internet.WWW.name, "POST")
        self._before = self._count()

    def _count(self) -> int:
        self._lab.settle()
        return self._posts.hits(Origin.WORKLOAD) + sum(p.hits(Origin.WORKLOAD) for p in FORBIDDEN)

    def none(self, loops: Workload) -> None:
        assert self._count() == self._before
        assert not [a for a in loops.answers() if a.what == "GRANTED"]


def test_the_controls_reach_what_must_not_be_reached(lab: Lab) -> None:
    for address in (internet.PRIVATE, internet.METADATA, internet.LITERAL):
        assert lab.probe("tcp", address, "80", "GET / HTTP/1.0\\r\\n\\r\\n").returncode == 0
    posts = Requests(internet.WWW.name, "POST")
    before = posts.hits(Origin.CONTROL)
    lab.fetch(internet.WWW.name, internet.WWW.address, "/canary/loop", "--data", "x")
    until(lambda: posts.hits(Origin.CONTROL) > before, "the control's POST is not on record", 5)


def test_all_workers_killed_squid_serves_within_a_second_and_they_come_back(
    lab: Lab, loops: Workload
) -> None:
    trespass = Trespass(lab)
    began = len(lifecycle("fallback-began"))
    with killed(*WORKERS) as moment:
        until(lambda: len(loops.after(moment + 1, "ok")) >= LOOPS, "nothing is answered without workers")
        served = loops.after(moment, "refused-by squid") + loops.after(moment, "ok")
        first = min(a.end for a in served) - moment
        over = time.time()
        assert not loops.after(moment, "refused-by gateway")
    until(lambda: loops.after(over, "refused-by gateway"), "the workers did not come back")
    until(stands_by, "the fallback did not end")
    assert first < FLIP_WITHIN, f"{first:.2f} s to the first answer of Squid"
    records = lifecycle("fallback-began")[began:]
    assert {name for r in records for name in r["subject"].split(", ")} == set(WORKERS)
    assert {r["reason"] for r in records} == {"worker-gone"}
    assert lifecycle("fallback-ended")[-1]["reason"] == "worker-back"
    now = time.time()
    until(lambda: len(loops.after(now, "ok")) >= LOOPS, "not everything works again")
    trespass.none(loops)
    print(f"\n{CONTAINERS} containers, {LOOPS} loops: first answer of Squid after {first * 1000:.0f} ms")


def test_a_hung_worker_loses_its_share_and_the_other_keeps_its_own(lab: Lab, loops: Workload) -> None:
    trespass = Trespass(lab)
    pid = pid_of(WORKERS[0])
    stopped = time.time()
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: netd()["fallback"] == f"serves {WORKERS[0]}", "a worker that hangs is not noticed")
        # A second, and what a loaded machine adds to it; by its silence alone it takes five.
        assert time.time() - stopped < 4
        moment = time.time()
        until(lambda: len(loops.after(moment, "ok")) >= LOOPS, "nothing is answered")
        assert lifecycle("fallback-began")[-1]["reason"] == "worker-silent"
    finally:
        os.kill(pid, signal.SIGCONT)
    until(stands_by, "the worker did not come back")
    trespass.none(loops)


def test_squid_killed_is_started_anew_and_its_childs_end_is_its_own(lab: Lab, loops: Workload) -> None:
    old = pid_of(SQUID)
    child = int((DIRECTORIES["run_dir"] / "squid" / "squid.pid").read_text())
    os.kill(old, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}/root").exists(), "Squid outlives its process", 5)
    until(lambda: listening_pid(control(SQUID)) not in (None, old) and stands_by(), "it is not started anew")


def test_without_workers_and_squid_nothing_passes(lab: Lab, loops: Workload) -> None:
    trespass = Trespass(lab)
    with killed(*WORKERS, SQUID) as moment:
        until(lambda: len(loops.after(moment, "no")) >= LOOPS, "the workload asks nothing")
        assert not loops.after(moment, "ok")
        assert not [a for a in loops.after(moment, "refused-by") if a.what != "refused-by nobody"]
    until(stands_by, "they did not come back")
    now = time.time()
    until(lambda: len(loops.after(now, "ok")) >= LOOPS, "not everything works again")
    trespass.none(loops)


def test_an_operator_sets_it_a_flush_is_repaired_to_it_and_a_container_starts_in_it(
    lab: Lab, appliance: Appliance, loops: Workload
) -> None:
    trespass = Trespass(lab)
    said = appliance.egress("fallback", "on").stdout
    assert said == f"fallback: serves {', '.join(WORKERS)}, set on by an operator\n"
    try:
        moment = time.time()
        repairs = netd()["repairs"]
        run("ip", "netns", "exec", GATEWAY, "nft", "flush", "ruleset")
        until(lambda: netd()["repairs"] > repairs, "the flush was not repaired", 5)
        until(lambda: len(loops.after(moment + 1, "refused-by squid")) >= LOOPS, "Squid does not serve")
        assert not loops.after(moment + 1, "refused-by gateway")
        old = pid_of("netd")
        os.kill(old, signal.SIGKILL)
        until(lambda: listening_pid(control("netd")) not in (None, old), "netd is not started anew")
        until(lambda: netd()["ready"], "netd is not ready again")
        assert netd()["fallback"] == said.removeprefix("fallback: ").strip()
        assert (lifecycle("fallback-set")[-1]["subject"], lifecycle("fallback-set")[-1]["reason"]) == (
            "on",
            "kept",
        )
        assert not loops.after(moment + 1, "refused-by gateway")
        # Its entry point fetches the root and the proxy's address, and then: by proxy, and past it.
        script = (
            "curl -s -o /dev/null -w '%{http_code} ' https://www.example.com/;"
            "curl -s -d x https://www.example.com/canary/loop;"
            "curl -s -m 2 --noproxy '*' https://www.example.com/ || echo transparent $?"
        )
        output = run_hardened(READER, IMAGE, ("sh", "-c", script))
        assert output.text.startswith("200 {")
        assert '"method-not-allowed"' in output.text
        assert output.text.endswith("transparent 28\n")
        doctor = appliance.egress("doctor", check=False)
        assert "FAIL  fallback: serves" in doctor.stdout
        assert "mend: egress fallback auto" in doctor.stdout
    finally:
        appliance.egress("fallback", "auto")
    until(lambda: loops.after(time.time() - 1, "refused-by gateway"), "the workers do not serve again")
    assert stands_by()
    assert [r["subject"] for r in lifecycle("fallback-set")][-2:] == ["on", "auto"]
    trespass.none(loops)
