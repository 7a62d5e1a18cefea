"""Everybody who is compared, up at the same time on one ground; loads are put on them in turn."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, Self

from tests.bench.courses import OURS, Course
from tests.bench.figures import cpu_seconds, resident_mib
from tests.bench.ground import Ground
from tests.bench.loads import Load, LoadFailed, Seat
from tests.bench.ours import Ours, appliance
from tests.bench.peers import BY_CONNECT, Kind, Peer, PeerMissing
from tests.lab import internet
from tests.lab.namespaces import inside

Put = Callable[[Sequence[Seat]], Load]


class Contestant(Protocol):
    """What of the appliance, a peer and the direct way is asked alike."""

    name: str
    version: str
    seats: Sequence[Seat]
    pids: Callable[[], list[int]]
    """Its processes; none for the direct way."""


class Direct:
    """No proxy: a client on the lab's Internet itself."""

    name = "direct"
    version = ""
    seats: Sequence[Seat] = (Seat(inside(internet.CONTROL)),)

    def pids(self) -> list[int]:
        return []


class Field:
    """Context manager: ground, appliance and peers; a peer that does not run is in `missing` with its reason."""

    def __init__(self, kinds: Sequence[Kind], lock: Path | None = None, workers: int = 1) -> None:
        """`lock`: a file that is locked for a round at a time, where several measure on one machine."""
        self._kinds, self._lock, self._workers = kinds, lock, workers
        self._stack = ExitStack()
        self.missing: dict[str, str] = {}
        self.known: dict[str, Contestant] = {"direct": Direct()}

    def __enter__(self) -> Self:
        try:
            ground = self._stack.enter_context(Ground())
            for number, kind in enumerate(self._kinds):
                try:
                    self.known[kind.name] = peer = Peer(kind, number)
                    self.known[f"{kind.name}{BY_CONNECT}"] = peer.asked_by_name()
                except PeerMissing as missing:
                    self.missing[kind.name] = str(missing)
            ground.assert_closed()
            self.known[OURS] = self._stack.enter_context(appliance(ground, workers=self._workers))
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

    def rounds(self, names: Sequence[str], count: int, put: Put, allowance: int) -> dict[str, Course]:
        """Every contestant of `names` that runs, in turn, `count` times; a round before them all is not counted.

        `allowance`: how many requests may be under way when a load ends (see `Ours.on_record`).
        """
        courses = {name: Course(self.known[name].version) for name in names if name in self.known}
        with self.quiet():
            for name in courses:  # caches, pools and leaves are warm from here on
                self._once(self.known[name], Course(), put, allowance)
        for number in range(count):
            with self.quiet():
                for name, course in courses.items():
                    self._once(self.known[name], course, put, allowance)
            print(f"  round {number + 1}:", ", ".join(map(_told, courses.items())), flush=True)
        return courses

    def _once(self, contestant: Contestant, course: Course, put: Put, allowance: int) -> None:
        pids = contestant.pids()
        with ExitStack() as stack:
            asked: list[int] = []
            if isinstance(contestant, Ours):
                asked = stack.enter_context(contestant.on_record(allowance))
            before = cpu_seconds(pids)
            try:
                load = put(contestant.seats)
            except LoadFailed as failed:
                raise LoadFailed(f"{contestant.name}: {failed}") from None
            course.cpu_seconds.append(cpu_seconds(pids) - before)
            asked.append(load.requests)
        course.memory_mib.append(resident_mib(pids))
        course.loads.append(load)


def _told(named: tuple[str, Course]) -> str:
    name, course = named
    load = course.loads[-1]
    return f"{name} {load.per_second:.0f}/s {load.megabytes_per_second:.0f} MB/s"
