"""How long a change of policy takes to be in force, and how long the reactor does nothing else meanwhile.

A process with a worker's modules reads a tenant's document of 10, 1,000 and 10,000 rules that takes the place of
one as long, by the same store and steps as the gateway. A ticker in the same reactor sees how far its turns are
apart: in seconds of this process's processor, so that others on the machine do not count. The figures hold
collections of garbage while it is read and the letting go of the old policy; what the next full collection
after it takes is told beside them.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, thread_time
from typing import Any

from appliance.gateway import main as worker_modules
from appliance.policy.reloads import Reloads
from appliance.policy.store import PolicyStore
from appliance.settings import Settings
from tests.bench.rows import Row
from tests.bench.verdicts import rule

COUNTS = (10, 1_000, 10_000)
PAUSE_MS = 5.0
AFTER = 0.3  # seconds of ticks after the policy is in force, in which the old one goes


def document(count: int, edition: int) -> str:
    """A tenant's policy of `count` rules as a person writes it."""
    lines = [f"description: edition {edition}", "profile: allowlist", "rules:"]
    for number in range(count):
        written = json.dumps(rule(number)).replace('"', "'" if number % 2 else '"')
        lines.append(f"  - {written}")
    return "\n".join(lines) + "\n"


class Ticker:
    """The longest time between two turns of the reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = 0.0
        self.longest = 0.0
        self.running = False

    def start(self) -> None:
        """Forget what was seen so far."""
        self.longest, self._last, self.running = 0.0, thread_time(), True
        self._reactor.callLater(0, self._tick)

    def _tick(self) -> None:
        now = thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now
        if self.running:
            self._reactor.callLater(0, self._tick)


def observed(count: int) -> dict[str, float]:
    """Seconds to force and the longest turn, in this process: its reactor runs once."""
    from twisted.internet import reactor

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(config_dir=Path(directory))
        settings.tenants_dir.mkdir()
        file = settings.tenants_dir / "bench.yaml"
        _write(file, document(count, 1))
        store = PolicyStore(settings)
        store.reload()
        if store.last_error is not None:
            raise store.last_error
        gc.collect()  # as the worker's `main` does
        gc.freeze()
        reloads, ticker = Reloads(store, reactor), Ticker(reactor)  # type: ignore[arg-type]  # zope

        def begin() -> None:
            _write(file, document(count, 2))
            found.update(wall=monotonic(), processor=thread_time())
            ticker.start()
            reloads.ask().addCallback(lambda _: end(store.current.generation))

        def end(generation: str) -> None:
            found.update(wall=monotonic() - found["wall"], processor=thread_time() - found["processor"])
            reactor.callLater(AFTER, finish)  # type: ignore[attr-defined]  # zope

        def finish() -> None:
            ticker.running = False
            found["longest"] = ticker.longest
            begun = thread_time()
            gc.collect()
            found["full_collection"] = thread_time() - begun
            reactor.stop()  # type: ignore[attr-defined]  # zope

        reactor.callLater(0.2, begin)  # type: ignore[attr-defined]  # zope
        reactor.run()  # type: ignore[attr-defined]  # zope
    return found


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o644)


def measure(rounds: int) -> list[Row]:
    """The longest turn against the goal, for each number of rules; the time to force is told with it."""
    found: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    for _ in range(rounds):
        for count in COUNTS:
            done = subprocess.run(
                [sys.executable, "-m", __spec__.name, str(count)], check=True, capture_output=True
            )
            found[count].append(json.loads(done.stdout))
    return [_row(count, each) for count, each in found.items()]


def _row(count: int, found: list[dict[str, float]]) -> Row:
    longest = statistics.median(one["longest"] for one in found) * 1000
    raw = {
        "ours_longest_turn_ms": round(longest, 2),
        "goal_longest_turn_ms": PAUSE_MS,
        "to_force_seconds": round(statistics.median(one["wall"] for one in found), 3),
        "processor_seconds": round(statistics.median(one["processor"] for one in found), 3),
        "full_collection_after_ms": round(
            statistics.median(one["full_collection"] for one in found) * 1000, 2
        ),
    }
    return Row(
        f"reload of {count} rules: longest turn / {PAUSE_MS:.0f} ms", longest / PAUSE_MS, 1.0, "down", raw
    )


if __name__ == "__main__":
    del worker_modules  # imported for its weight
    if len(sys.argv) == 2:
        print(json.dumps(observed(int(sys.argv[1]))))
    else:
        for each in measure(3):
            print(each.as_json())
