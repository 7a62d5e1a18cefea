from __future__ import annotations

from twisted.internet.task import Clock

from appliance.outgoing.deadlines import NEVER, SWEEP_SECONDS, Deadlines


class Timed:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.passed = 0

    def deadline_passed(self) -> None:
        assert self.deadline == NEVER
        self.passed += 1


def test_what_is_due_is_told_once() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    deadlines.start()
    soon, later, gone = Timed(1.5), Timed(100.0), Timed(1.5)
    for timed in (soon, later, gone):
        deadlines.watch(timed)
    deadlines.forget(gone)
    clock.pump([SWEEP_SECONDS] * 5)
    assert (soon.passed, later.passed, gone.passed) == (1, 0, 0)
    deadlines.stop()
    clock.pump([SWEEP_SECONDS] * 200)
    assert later.passed == 0


def test_one_that_leaves_while_another_is_told_does_no_harm() -> None:
    clock = Clock()
    deadlines = Deadlines(clock)
    deadlines.start()
    first, second = Timed(0.5), Timed(0.5)
    others = [Timed(1.5) for _ in range(20)]
    first.deadline_passed = lambda: deadlines.forget(second)
    for timed in (first, second, *others):
        deadlines.watch(timed)
    clock.pump([SWEEP_SECONDS] * 5)
    assert [other.passed for other in others] == [1] * 20


def test_one_that_fails_does_not_end_the_sweep(monkeypatch) -> None:
    monkeypatch.setattr("appliance.outgoing.deadlines._log.failure", lambda *_: None)
    clock = Clock()
    deadlines = Deadlines(clock)
    deadlines.start()
    broken, soon, later = Timed(0.5), Timed(0.5), Timed(1.5)
    broken.deadline_passed = lambda: 1 / 0
    for timed in (broken, soon, later):
        deadlines.watch(timed)
    clock.pump([SWEEP_SECONDS] * 3)
    assert (soon.passed, later.passed) == (1, 1)
