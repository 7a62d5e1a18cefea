"""How much later an answer comes when the broker has put a secret into the request, and how fast it gives handles.

Both loads ask one nginx for 1 KiB over one kept connection, by the same worker: of one name the worker answers itself,
the other is an account's. So the difference is what a call costs that goes over the broker: its checks, the secret
decrypted for this call, its own connection to the provider, the scrubbed answer and one record more. Rounds alternate.
All processes share one processor.

Judged is the client that waits for each answer and asks again at once. At a pace that leaves the processor idle for most
of the time, 60 and 250 calls a second, everything takes longer, a plain call as well (1.05 ms of the worker's processor
and not 0.34): what it needs has left the caches, and the processor has to wake. That is told beside it, without a goal.

A handle is given over mTLS to a container that has a certificate and a session: the session is looked up, the secret
decrypted, the gift put on record. Every container asks one after the other; its own limits end that after 32.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.listeners import listening_pid
from appliance.settings import load
from appliance.verify.case import Image
from tests.bench import loads
from tests.bench.figures import cpu_seconds, percentile
from tests.bench.ground import HOSTS, Ground
from tests.bench.loads import Load, LoadFailed
from tests.bench.origin import PROVIDER, SITE
from tests.bench.ours import TENANT, Ours, appliance
from tests.bench.rows import Row
from tests.lab.appliance import COMMAND, DIRECTORIES, SETTINGS_FILE, egress
from tests.lab.containers import IMAGES, logs_of, start_hardened
from tests.lab.namespaces import LabError, run

ACCOUNT, SECRET = "bench", "Zr8-a-secret-that-nobody-asks-for/0123456789+q"
CONNECTIONS, SECONDS = 1, 8
BACK_TO_BACK = 0
"""As a rate: the next call when the last one was answered."""
RATES = (BACK_TO_BACK, 250, 60)
GOAL_MS = 1.0
"""Of the p50 back to back."""
CONTAINERS, HANDLES = 8, 30
"""A container may have 32 handles at a time."""
START_SECONDS = 25.0
JOB = Path(__file__).with_name("data") / "handles.py"


@dataclass(slots=True)
class Calls:
    """Of one kind, by round: times, and microseconds of a processor that a call took of worker and broker."""

    loads: list[Load] = field(default_factory=list)
    worker_us: list[float] = field(default_factory=list)
    broker_us: list[float] = field(default_factory=list)

    def p50(self) -> float:
        return statistics.median(one.p50_ms for one in self.loads)

    def p99(self) -> float:
        return statistics.median(one.p99_ms for one in self.loads)


def measure(rounds: int) -> list[Row]:
    """Two rows of the added latency for each rate, and one of handles."""
    with Ground() as ground, appliance(ground, workers=1, seats=1) as ours, _account():
        rows = [row for rate in RATES for row in added(rate, *_calls(ours, rounds, rate))]
        return [*rows, handles([_gifts() for _ in range(rounds)])]


@contextmanager
def _account() -> Iterator[None]:
    """The tenant is bound to an account of the provider's, whose secret the vault has."""
    with HOSTS.open("a") as hosts:
        hosts.write(f"{PROVIDER.address} {PROVIDER.name}\n")
    written = (
        f"accounts: [{{name: {ACCOUNT}, integration: rest, tenants: [{TENANT}], host: {PROVIDER.name}}}]\n"
    )
    (DIRECTORIES["config_dir"] / "accounts.yaml").write_text(written)
    egress("policy", "reload")
    words = ("secret", "set", ACCOUNT, "--tenant", TENANT, "--integration", "rest")
    command = (str(COMMAND), "--settings", str(SETTINGS_FILE), *words)
    done = subprocess.run(
        command, input=SECRET, capture_output=True, text=True, timeout=30, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise LabError(f"egress secret set: {done.stdout}{done.stderr}")
    yield


def broker() -> int:
    """The broker's process id."""
    pid = listening_pid(str(load(SETTINGS_FILE).control_socket("broker")))
    if pid is None:
        raise LabError("the broker is away")
    return pid


def _calls(ours: Ours, rounds: int, rate: int) -> tuple[Calls, Calls]:
    """Plain and injected, in turn; a round before them all is not counted."""
    plain, injected = Calls(), Calls()
    for number in range(rounds + 1):
        for calls, site in ((plain, SITE), (injected, PROVIDER)):
            pids = ours.workers(), [broker()]
            before = [cpu_seconds(each) for each in pids]
            with ours.on_record(CONNECTIONS) as asked:
                took = loads.client(
                    "paced", ours.seats[:1], "https", SECONDS, CONNECTIONS, str(rate), to=site
                )
                asked.append(took.requests)
            if number:
                spent = [1e6 * (cpu_seconds(each) - was) for each, was in zip(pids, before, strict=True)]
                calls.loads.append(took)
                calls.worker_us.append(spent[0] / took.requests)
                calls.broker_us.append(spent[1] / took.requests)
        if number:
            each = ", ".join(f"{c.loads[-1].p50_ms:.2f}/{c.loads[-1].p99_ms:.2f}" for c in (plain, injected))
            print(f"  {pace(rate)}, round {number}: plain, injected p50/p99 ms {each}", flush=True)
    return plain, injected


def pace(rate: int) -> str:
    """In words."""
    return "back to back" if rate == BACK_TO_BACK else f"{rate} a second"


def added(rate: int, plain: Calls, injected: Calls) -> list[Row]:
    """Medians of the rounds."""
    found = []
    for part in ("p50", "p99"):
        goal = GOAL_MS if (part, rate) == ("p50", BACK_TO_BACK) else None
        ours, theirs = (calls.p50() if part == "p50" else calls.p99() for calls in (injected, plain))
        raw = {
            f"ours_{part}_ms": round(ours, 3),
            f"peer_{part}_ms": round(theirs, 3),
            "added_ms": round(ours - theirs, 3),
            "asked": pace(rate),
            "ours_worker_us_a_call": round(statistics.median(injected.worker_us)),
            "ours_broker_us_a_call": round(statistics.median(injected.broker_us)),
            "peer_worker_us_a_call": round(statistics.median(plain.worker_us)),
            "rounds": len(plain.loads),
        }
        name = f"added {part} of a call with an injected secret over a plain intercepted one, {pace(rate)} / 1 ms"
        why = f"{raw['ours_broker_us_a_call']} us of the broker's processor a call (ARCHITECTURE.md, What a request costs)"
        told = Row(name, ours - theirs, goal, "down", raw)
        found.append(replace(told, reason=why) if told.reached is False else told)
    return found


@dataclass(frozen=True, slots=True)
class Gifts:
    """One round: handles in all, seconds from the first wish to the last gift, and of the broker's processor."""

    count: int
    seconds: float
    milliseconds: list[float]
    broker_us: float


def _gifts() -> Gifts:
    begin = time.time() + START_SECONDS
    words = ("python3", "-c", JOB.read_text(), ACCOUNT, str(HANDLES), f"{begin:.3f}")
    wish = ("--env", "EGRESS_WORKLOAD_CERTIFICATE=1")
    containers = [start_hardened(TENANT, IMAGES[Image.PYTHON], words, *wish) for _ in range(CONTAINERS)]
    try:
        time.sleep(max(0.0, begin - time.time() - 0.5))
        before = cpu_seconds([broker()])
        run("docker", "wait", *containers, timeout=60)
        spent = cpu_seconds([broker()]) - before
        said = [_last(container) for container in containers]
    finally:
        run("docker", "rm", "-f", *containers, check=False)
    each = [one for container in said for one in container["milliseconds"]]
    seconds = max(one["ended"] for one in said) - min(one["began"] for one in said)
    return Gifts(len(each), seconds, each, 1e6 * spent / len(each))


def _last(container: str) -> dict[str, object]:
    text = logs_of(container)
    line = text.strip().rpartition("\n")[2]
    if not line.startswith("{"):
        raise LoadFailed(f"no handles: {text[-500:]}")
    said: dict[str, object] = json.loads(line)
    return said


def handles(rounds: list[Gifts]) -> Row:
    """Told, not judged."""
    rates = [one.count / one.seconds for one in rounds]
    each = [time for one in rounds for time in one.milliseconds]
    raw = {
        "ours_handles_per_second": round(statistics.median(rates)),
        "range_per_second": [round(min(rates)), round(max(rates))],
        "p50_ms": round(percentile(each, 0.5), 2),
        "p99_ms": round(percentile(each, 0.99), 2),
        "ours_broker_us_a_handle": round(statistics.median(one.broker_us for one in rounds)),
        "containers": CONTAINERS,
        "rounds": len(rounds),
    }
    return Row(f"handles given over mTLS to {CONTAINERS} containers at once", None, None, "up", raw)


if __name__ == "__main__":
    for row in measure(3):
        print(row.as_json())
