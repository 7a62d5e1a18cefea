"""From a link to its container: named, judged, stopped; patient with dockerd."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from driver_fakes import ENDPOINT, NET, FakeEngine, FakePlumbing
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netns.driver.admission import ADMITTED, Decision, Refused
from netns.driver.containers import Containers
from netns.driver.facts import EngineUnavailable, Member
from netns.plumbing import Attachment

LINK = Attachment(ENDPOINT, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
MEMBER = Member(ENDPOINT, "c1", "web-1")


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.engine = FakeEngine()
        self.plumbing = FakePlumbing()
        self.plumbing.links[ENDPOINT] = LINK
        self.decision: Decision = ADMITTED
        self.stopped: list[tuple[str, ...]] = []
        self.containers = Containers(self.clock, self.engine, self.plumbing, self, self.hear)

    def hear(self, attachment: Attachment, *words: str) -> None:
        assert attachment == LINK
        self.stopped.append(words)

    async def decide_existing(self, reference: str) -> Decision:
        assert reference == "c1"
        return self.decision

    def begin(self, work: Any) -> list[Any]:
        results: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(results.append)
        return results


@pytest.fixture
def world() -> World:
    return World()


def test_named_as_soon_as_docker_tells(world: World) -> None:
    done = world.begin(world.containers.introduce(LINK))
    world.clock.pump([0.02] * 5)
    assert done == []
    world.engine.member[NET] = (Member("f" * 64, "c2", "other"), MEMBER)
    world.engine.label["c1"] = {"egress.run": "42"}
    world.clock.advance(3)
    assert done == [None]
    assert world.plumbing.log == [("describe", ENDPOINT, "c1", "web-1", "42")]


def test_patient_while_dockerd_is_silent(world: World) -> None:
    world.engine.silent = True
    done = world.begin(world.containers.introduce(LINK))
    world.clock.pump([1] * 20)
    assert done == []
    world.engine.silent = False
    world.engine.member[NET] = (MEMBER,)
    world.clock.pump([2] * 2)
    assert done == [None]


def test_a_link_that_goes_ends_the_search(world: World) -> None:
    done = world.begin(world.containers.introduce(LINK))
    world.plumbing.links.clear()
    world.clock.advance(1)
    assert done == [None]
    assert world.plumbing.log == []


def test_a_container_that_should_not_be_there_is_stopped(world: World) -> None:
    """It was made while the plugin was off, and a restart policy has started it without a call."""
    world.engine.member[NET] = (MEMBER,)
    world.decision = Refused(("privileged",), "egress: no")
    assert world.begin(world.containers.introduce(LINK)) == [None]
    assert world.plumbing.log[-1] == ("detach", ENDPOINT)
    assert world.engine.killed == ["c1"]
    assert world.stopped == [("c1", "privileged", "egress: no")]


def test_the_link_goes_first_then_the_container(world: World) -> None:
    done = world.begin(world.containers.stop(LINK, "code", "why"))
    assert world.plumbing.links == {}
    assert world.stopped == [("", "code", "why")]
    assert done == []
    world.engine.member[NET] = (MEMBER,)
    world.clock.advance(0.02)
    assert done == [None]
    assert world.engine.killed == ["c1"]
    assert len(world.stopped) == 1


@pytest.mark.parametrize(
    ("reason", "ended"), [("authority-collision", ["c1"]), ("process-status", ["c1"]), ("sealed-late", [])]
)
def test_what_is_stopped_for_what_it_is_does_not_come_back_with_its_engine(
    world: World, reason: str, ended: list[str]
) -> None:
    world.engine.member[NET] = (MEMBER,)
    assert world.begin(world.containers.stop(LINK, reason, "why")) == [None]
    assert (world.engine.killed, world.engine.ended) == (["c1"], ended)
    assert world.engine.asked[-1] == "kill", "its end takes with it whoever watches it"


def test_an_engine_that_does_not_end_the_policy_ends_the_container(world: World) -> None:
    world.engine.member[NET] = (MEMBER,)
    world.engine.refused = {"end restarts"}
    assert world.begin(world.containers.stop(LINK, "process-status", "why")) == [None]
    assert (world.engine.killed, world.engine.ended) == (["c1"], [])


def test_a_link_that_stays_does_not_save_the_container(world: World) -> None:
    world.plumbing.broken = "busy"
    world.engine.member[NET] = (MEMBER,)
    assert world.begin(world.containers.stop(LINK, "code", "why")) == [None]
    assert world.engine.killed == ["c1"]


def test_the_runtime_is_empty_when_docker_does_not_tell(world: World) -> None:
    world.engine.member[NET] = (MEMBER,)
    assert world.begin(world.containers.runtime(LINK)) == [""]
    world.engine.containers["c1"] = {"HostConfig": {"Runtime": "runsc"}}
    assert world.begin(world.containers.runtime(LINK)) == ["runsc"]

    async def silent(reference: str) -> None:
        raise EngineUnavailable(reference)

    world.engine.container = silent  # type: ignore[assignment] # silent in this one question
    assert world.begin(world.containers.runtime(LINK)) == [""]


def test_the_sandbox_of_a_running_container(world: World) -> None:
    world.engine.member[NET] = (MEMBER,)
    world.engine.containers["c1"] = {"State": {"Running": False}}
    done = world.begin(world.containers.sandbox_key(LINK))
    assert done == []
    world.engine.containers["c1"] = {"State": {"Running": True}, "NetworkSettings": {"SandboxKey": "/s/k"}}
    world.clock.advance(0.02)
    assert done == ["/s/k"]


def test_no_sandbox_of_a_container_that_is_gone(world: World) -> None:
    world.engine.member[NET] = (MEMBER,)
    assert world.begin(world.containers.sandbox_key(LINK)) == [None]


@pytest.mark.parametrize(
    ("status", "auto_remove", "removed"),
    [("created", True, True), ("created", False, False), ("running", True, False), ("exited", True, False)],
)
def test_what_was_to_be_removed_and_never_ran_is_removed(
    world: World, status: str, *, auto_remove: bool, removed: bool
) -> None:
    world.engine.containers["x" * 64] = document = {
        "Id": "x" * 64, "State": {"Status": status}, "HostConfig": {"AutoRemove": auto_remove},
    }  # fmt: skip
    world.engine.containers["job"] = document
    assert world.begin(world.containers.tidy("job")) == [None]
    assert (f"remove {'x' * 64}" in world.engine.asked) is removed


def test_what_is_gone_or_not_told_stays(world: World) -> None:
    assert world.begin(world.containers.tidy("gone")) == [None]
    world.engine.silent = True
    assert world.begin(world.containers.tidy("gone")) == [None]
    assert not [question for question in world.engine.asked if question.startswith("remove")]
