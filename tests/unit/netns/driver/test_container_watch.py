"""Containers of ours that became what they may not be while they ran."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from driver_fakes import ENDPOINT, NET, FakeEngine, FakePlumbing
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netns.driver.admission import ADMITTED, Decision, Refused
from netns.driver.container_watch import EVERY, ContainerWatch
from netns.driver.containers import Containers
from netns.driver.facts import EngineUnavailable, Running
from netns.plumbing import Attachment, Network

POOL = IPv4Network("172.20.0.0/16")
LINK = Attachment(ENDPOINT, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
GOOD = Running("c1", ("acme", NET), (ENDPOINT,))
SECOND = Running("c1", ("acme", "web", NET, "w"), (ENDPOINT, "f" * 64))
INSTEAD = Running("c1", ("acme", "web", "w"), ("f" * 64,))
NO = Refused(("one-network",), "egress: may not have --network web as well", "acme")


class World:
    """Judge and journal in one; `decision` is what each judgement comes to, once `waiting` has an answer."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.engine = FakeEngine()
        self.plumbing = FakePlumbing()
        self.plumbing.net[NET] = Network(NET, "acme", POOL, POOL[1])
        self.plumbing.links[ENDPOINT] = LINK
        self.running: tuple[Running, ...] | Exception = (GOOD,)
        self.decision: Decision | Exception = NO
        self.asked = 0
        self.silent: Deferred[None] | None = None
        self.judged: list[str] = []
        self.waiting: list[Deferred[None]] | None = None
        self.stopped: list[tuple[str, ...]] = []
        containers = Containers(
            self.clock,
            self.engine,
            self.plumbing,
            self,
            lambda link, *words: self.stopped.append((link.endpoint, *words)),
            ended=lambda *words: self.stopped.append(words),
        )
        self.watch = ContainerWatch(self.clock, self.plumbing, self, containers)

    async def ours(self) -> tuple[Running, ...]:
        self.asked += 1
        if self.silent is not None:
            await self.silent
        if isinstance(self.running, Exception):
            raise self.running
        return self.running

    async def decide_existing(self, reference: str) -> Decision:
        self.judged.append(reference)
        if self.waiting is not None:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision

    def look(self, times: int = 1) -> None:
        self.watch.start()
        self.clock.pump([EVERY] * times)
        self.watch.stop()


@pytest.fixture
def world() -> World:
    return World()


def test_after_a_change_each_is_judged_and_stopped_with_its_link(world: World) -> None:
    """Also one that looks as it should from afar: an update changes no network."""
    world.watch.changed()
    assert world.judged == ["c1"]
    assert world.stopped == [(ENDPOINT, "c1", "one-network", NO.message)]
    assert world.plumbing.links == {}
    assert world.engine.killed == world.engine.ended == ["c1"]
    assert "members" not in world.engine.asked, "it may have left the network by now"


def test_one_that_may_be_there_stays(world: World) -> None:
    world.decision = ADMITTED
    world.watch.changed()
    world.look(3)
    assert world.judged == ["c1"], "and costs no further question"
    assert (world.stopped, world.engine.killed) == ([], [])
    assert world.plumbing.links == {ENDPOINT: LINK}


@pytest.mark.parametrize("odd", [SECOND, INSTEAD, Running("c1", ("acme",), ())])
def test_one_that_is_not_on_its_one_network_is_found_without_a_call(world: World, odd: Running) -> None:
    """A start by a swapped name, of one that had left our network; or a connect that nobody asked us about."""
    world.running = (GOOD, odd)
    world.decision = ADMITTED
    world.look()
    assert world.judged == ["c1"]
    world.decision = NO
    world.look()
    assert world.engine.killed == ["c1"]


def test_one_without_a_link_is_stopped_too(world: World) -> None:
    """It left our network before it got the other one."""
    world.plumbing.links.clear()
    world.running = (INSTEAD,)
    world.look()
    assert world.stopped == [("c1", "acme", "one-network", NO.message)]
    assert world.engine.killed == world.engine.ended == ["c1"]


def test_a_link_that_stays_does_not_save_the_container(world: World) -> None:
    world.plumbing.broken = "busy"
    world.watch.changed()
    assert world.engine.killed == ["c1"]


@pytest.mark.parametrize("failing", [EngineUnavailable("silent"), RuntimeError("a mistake of ours")])
def test_a_change_is_not_forgotten_while_dockerd_does_not_answer(world: World, failing: Exception) -> None:
    world.running = failing
    world.watch.changed()
    world.look(2)
    assert world.judged == []
    world.running = (GOOD,)
    world.look()
    assert world.engine.killed == ["c1"]


def test_a_look_that_fails_does_not_make_the_next_one_judge_all(world: World) -> None:
    world.running, world.decision = EngineUnavailable("silent"), ADMITTED
    world.look()
    world.running = (GOOD,)
    world.look()
    assert world.judged == []


def test_dockerd_is_not_asked_again_when_the_last_network_went_meanwhile(world: World) -> None:
    world.silent, world.decision = Deferred(), ADMITTED
    world.watch.changed()
    world.watch.changed()
    world.plumbing.net.clear()
    silent, world.silent = world.silent, None
    silent.callback(None)
    assert world.asked == 1


def test_a_judgement_waits_for_dockerd(world: World) -> None:
    world.decision = EngineUnavailable("silent")
    world.watch.changed()
    world.clock.pump([2] * 3)
    assert world.engine.killed == []
    world.decision = NO
    world.clock.advance(2)
    assert world.engine.killed == ["c1"]


def test_a_path_that_cannot_be_followed_is_the_reason(world: World) -> None:
    world.decision = OSError("too many symbolic links")
    world.watch.changed()
    assert world.stopped[0][2] == "path"


def test_one_that_cannot_be_judged_is_stopped(world: World) -> None:
    world.decision = ValueError("a mistake of ours")
    world.watch.changed()
    assert world.stopped[0][2] == "not-judged"
    assert (world.engine.killed, world.engine.ended) == (["c1"], []), "it may come back, and is judged then"


def test_a_change_while_one_is_judged_is_judged_after_that(world: World) -> None:
    """What was read of it may be older; and it is not judged several times at once."""
    world.waiting, world.decision = [], ADMITTED
    for _ in range(3):
        world.watch.changed()
    assert world.judged == ["c1"]
    world.waiting[0].callback(None)
    assert world.judged == ["c1"] * 2
    world.decision = NO
    world.watch.changed()
    world.waiting[1].callback(None)
    assert world.judged == ["c1"] * 2, "one that is stopped is judged no more"
    assert world.engine.killed == ["c1"]


def test_however_many_changes_come_while_dockerd_is_asked_it_is_asked_once_more(world: World) -> None:
    """What it answers may be older than the last of them."""
    world.silent, world.decision = Deferred(), ADMITTED
    for _ in range(50):
        world.watch.changed()
    assert world.asked == 1
    silent, world.silent = world.silent, None
    silent.callback(None)
    assert (world.asked, world.judged) == (2, ["c1"] * 2)
    world.watch.changed()
    assert world.asked == 3


def test_one_that_dockerd_does_not_describe_holds_up_no_other(world: World) -> None:
    world.waiting = []
    other = Running("c2", ("acme", "web"), ("d" * 64, "f" * 64))
    world.running = (SECOND,)
    world.watch.changed()
    world.running = (SECOND, other)
    world.look()
    assert world.judged == ["c1", "c2"]
    world.waiting[1].callback(None)
    assert world.engine.killed == ["c2"]


def test_without_networks_nobody_is_asked(world: World) -> None:
    world.plumbing.net.clear()
    world.watch.changed()
    world.look(2)
    assert world.asked == 0
    world.watch.stop()
    assert world.clock.getDelayedCalls() == []
