"""Everybody who is compared, up at the same time on one ground; loads are put on them in turn."""

from __future__ import annotations

import fcntl
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from tests.bench.figures import cpu_seconds, resident_mib
from tests.bench.ground import Ground
from tests.bench.loads import Load, Seat
from tests.bench.ours import Ours, appliance
from tests.bench.peers import Kind, Peer, PeerMissing
from tests.lab import internet
from tests.lab.namespaces import inside


class Contestant(Protocol):
    """What of the appliance, a peer and the direct way is asked alike."""

    name: str
    version: str
    seats: Sequence[Seat]

    def pids(self) -> list[int]:
        """Its processes; none for the direct way."""
        ...


class Direct:
    """No proxy: a client on the lab's Internet itself."""

    name = "direct"
    version = ""
    seats = (Seat(inside(internet.CONTROL)),)

    def pids(self) -> list[int]:
        return []


@dataclass(slots=True)
class Course:
    """What one contestant did, round by round."""

    contestant: Contestant
    loads: list[Load] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return statistics.median(load.per_second for load in self.loads)

    @property
    def cpu_microseconds(self) -> float:
        """Of all its processes, a request."""
        each = zip(self.cpu_seconds, self.loads, strict=True)
        return statistics.median(cpu / load.requests * 1e6 for cpu, load in each)

    @property
    def p50_ms(self) -> float:
        return statistics.median(load.p50_ms for load in self.loads)

    @property
    def p99_ms(self) -> float:
        return statistics.median(load.p99_ms for load in self.loads)

    def figures(self, prefix: str) -> dict[str, Any]:
        """As a row holds them; `prefix` is "ours" or "peer"."""
        rates = [load.per_second for load in self.loads]
        found: dict[str, Any] = {
            f"{prefix}_per_second": round(self.per_second),
            f"{prefix}_range_per_second": [round(min(rates)), round(max(rates))],
            f"{prefix}_p50_ms": round(self.p50_ms, 2),
            f"{prefix}_p99_ms": round(self.p99_ms, 2),
        }
        if self.contestant.pids():
            found |= {
                f"{prefix}_cpu_us_a_request": round(self.cpu_microseconds, 1),
                f"{prefix}_memory_mib": round(statistics.median(self.memory_mib), 1),
            }
        return found


class Field:
    """Context manager: ground, appliance and peers; a peer that does not run is in `missing` with its reason."""

    def __init__(self, kinds: Sequence[Kind], lock: Path | None = None) -> None:
        """`lock`: a file that is locked while a load runs, where several measure on one machine."""
        self._kinds, self._lock = kinds, lock
        self._stack = ExitStack()
        self.direct = Direct()
        self.peers: dict[str, Peer] = {}
        self.missing: dict[str, str] = {}
        self.ours: Ours

    def __enter__(self) -> Self:
        try:
            ground = self._stack.enter_context(Ground())
            for number, kind in enumerate(self._kinds):
                try:
                    self.peers[kind.name] = Peer(kind, number)
                except PeerMissing as missing:
                    self.missing[kind.name] = str(missing)
            ground.assert_closed()
            self.ours = self._stack.enter_context(appliance(ground))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Alone with the machine, as far as others keep to the lock."""
        if self._lock is None:
            yield
            return
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def rounds(
        self, names: Sequence[str], count: int, put: Callable[[Sequence[Seat]], Load], allowance: int
    ) -> dict[str, Course]:
        """Every contestant of `names` that runs, in turn, `count` times; one short round before does not count."""
        known: dict[str, Contestant] = {"appliance": self.ours, "direct": self.direct, **self.peers}
        courses = {name: Course(known[name]) for name in names if name in known}
        for number in range(count + 1):
            for name, course in courses.items():
                with self.quiet():
                    self._once(course, put, allowance)
                if number == 0:  # caches, pools and leaves are warm from here on
                    course.loads.clear()
                    course.cpu_seconds.clear()
                    course.memory_mib.clear()
                else:
                    print(f"  round {number}: {name} {course.loads[-1].per_second:.0f}/s", flush=True)
        return courses

    def _once(self, course: Course, put: Callable[[Sequence[Seat]], Load], allowance: int) -> None:
        pids = course.contestant.pids()
        with ExitStack() as stack:
            asked = (
                stack.enter_context(course.contestant.on_record(allowance))
                if isinstance(course.contestant, Ours)
                else []
            )
            before = cpu_seconds(pids)
            load = put(course.contestant.seats)
            course.cpu_seconds.append(cpu_seconds(pids) - before)
            asked.append(load.requests)
        course.memory_mib.append(resident_mib(pids))
        course.loads.append(load)
