"""A dockerd that was reloaded without the plugin is noticed while containers run (A20)."""

from __future__ import annotations

from twisted.internet.task import Clock

from netns.driver.switch_watch import EVERY, SwitchWatch


class Engine:
    """What each look finds, the last for ever; an exception is raised."""

    def __init__(self, *answers: bool | Exception | None) -> None:
        self.answers = list(answers)
        self.looks = 0

    async def asks(self) -> bool | None:
        self.looks += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found


def watched(engine: Engine, looks: int, *, wanted: bool = True) -> list[bool]:
    clock, told = Clock(), []
    watch = SwitchWatch(clock, engine.asks, lambda: wanted, told.append)
    watch.start()
    clock.pump([EVERY] * looks)
    watch.stop()
    watch.stop()
    assert clock.getDelayedCalls() == []
    return told


def test_a20_off_is_told_once_and_so_is_on_again() -> None:
    assert watched(Engine(True, False, False, False, True, True, True), 8) == [False, True]


def test_one_unasked_call_is_no_change_and_no_answer_is_none() -> None:
    assert watched(Engine(True, False, True, False, None, False, True), 8) == []
    assert watched(Engine(None), 8) == []


def test_without_networks_nobody_is_asked() -> None:
    engine = Engine(False)
    assert watched(engine, 5, wanted=False) == []
    assert engine.looks == 0


def test_a_look_that_fails_is_not_the_last() -> None:
    assert watched(Engine(RuntimeError(), False, RuntimeError(), False, False), 8) == [False]
