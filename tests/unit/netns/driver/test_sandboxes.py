"""When a sandbox is sealed: at Join, as soon as it appears, or too late (B9, A21)."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from driver_fakes import ENDPOINT, NET, FakeEngine, FakePlumbing, run
from twisted.internet.task import Clock

from netns.driver.admission import ADMITTED, Decision
from netns.driver.containers import Containers
from netns.driver.facts import Member
from netns.driver.refusal import DriverRefused
from netns.driver.sandbox import FirstProcess
from netns.driver.sandboxes import GRACE, LOOK, SOON, Probe, Sandboxes
from netns.driver.sealer import SealFailed
from netns.plumbing import Attachment

GATEWAY = IPv4Address("172.20.0.1")
LINK = Attachment(ENDPOINT, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")


class World:
    """Sealer, judge and probe in one."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self.engine = FakeEngine()
        self.engine.member[NET] = (Member(ENDPOINT, "c1", "x"),)
        self.plumbing = FakePlumbing()
        self.plumbing.links[ENDPOINT] = LINK
        self.there = False
        self.late = False
        self.broken = False
        self.is_sealed = False
        self.sealed: list[Path] = []
        self.first: FirstProcess | None = FirstProcess(runs=True, problems=())
        self.stopped: list[tuple[str, ...]] = []
        containers = Containers(
            self.clock, self.engine, self.plumbing, self, lambda _, *w: self.stopped.append(w)
        )
        probe = Probe(lambda _path: self.there, lambda _path: self.late, lambda _path: self.first)
        self.kept: list[str] = []
        self.sandboxes = Sandboxes(
            self.clock, root, self, containers, probe=probe, in_thread=_at_once, keeper=self
        )

    def keep(self, attachment: Attachment, sandbox: Path, gateway: IPv4Address) -> None:
        assert gateway == GATEWAY
        self.kept.append(attachment.endpoint)

    def forget(self, endpoint: str) -> None:
        if endpoint in self.kept:
            self.kept.remove(endpoint)

    async def decide_existing(self, reference: str) -> Decision:
        return ADMITTED

    async def seal(self, sandbox: Path, gateway: IPv4Address) -> None:
        if self.broken:
            raise SealFailed("cannot seal the embedded DNS: no nft")
        assert gateway == GATEWAY
        self.sealed.append(sandbox)

    async def holds(self, sandbox: Path, gateway: IPv4Address) -> bool:
        self.sealed.append(sandbox)
        return self.is_sealed

    def docker_says_running(self) -> None:
        settings = {"SandboxKey": "/run/docker/netns/k"}
        self.engine.containers["c1"] = {"State": {"Running": True}, "NetworkSettings": settings}

    def join(self) -> None:
        run(self.sandboxes.joined(LINK, "/var/run/docker/netns/k", GATEWAY))


async def _at_once(question: object, path: Path) -> bool:
    return question(path)  # type: ignore[operator, no-any-return]


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("/run")
    return World(tmp_path)


def test_at_join_where_the_sandbox_is_there(world: World, tmp_path: Path) -> None:
    world.there = True
    world.join()
    assert world.sealed == [tmp_path / "run/docker/netns/k"]


def test_join_fails_when_it_cannot_be_sealed(world: World) -> None:
    world.there = world.broken = True
    with pytest.raises(DriverRefused, match="egress: cannot seal"):
        world.join()


def test_as_soon_as_the_sandbox_appears(world: World) -> None:
    world.join()
    world.clock.pump([0.01] * 10)
    assert world.sealed == []
    world.there = True
    world.clock.advance(0.004)
    assert len(world.sealed) == 1
    assert world.engine.killed == []
    world.clock.pump([1] * 10)
    assert len(world.sealed) == 1


def test_however_late_it_appears(world: World) -> None:
    world.join()
    world.clock.pump([0.5] * 200)
    world.there = True
    world.clock.advance(0.1)
    assert len(world.sealed) == 1


def test_a_container_that_ran_before_is_stopped(world: World) -> None:
    world.late = True
    world.join()
    world.there = True
    world.clock.advance(0.004)
    assert world.plumbing.links == {}
    assert world.engine.killed == ["c1"]


def test_a_container_that_cannot_be_sealed_is_stopped(world: World) -> None:
    world.broken = True
    world.join()
    world.there = True
    world.clock.advance(0.004)
    assert world.plumbing.links == {}
    assert world.engine.killed == ["c1"]


def test_leave_ends_the_watch(world: World) -> None:
    world.join()
    world.sandboxes.left(ENDPOINT)
    world.sandboxes.left(ENDPOINT)
    world.there = True
    world.clock.advance(1)
    assert world.sealed == []
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("key", ["", "relative/x"])
def test_a_sandbox_without_a_path(world: World, key: str) -> None:
    with pytest.raises(DriverRefused, match="no path of a sandbox"):
        run(world.sandboxes.joined(LINK, key, GATEWAY))


@pytest.mark.parametrize("is_sealed", [True, False])
def test_after_our_restart_the_seal_is_looked_at(world: World, *, is_sealed: bool) -> None:
    world.is_sealed = is_sealed
    world.there = True
    world.docker_says_running()
    world.sandboxes.recheck(LINK, GATEWAY)
    assert len(world.sealed) == 1
    assert world.engine.killed == ([] if is_sealed else ["c1"])


@pytest.mark.parametrize("at_join", [True, False])
def test_a_seal_is_looked_after_until_leave(world: World, *, at_join: bool) -> None:
    world.there = at_join
    world.join()
    assert world.kept == ([ENDPOINT] if at_join else [])
    world.there = True
    world.clock.advance(0.004)
    assert world.kept == [ENDPOINT]
    world.sandboxes.left(ENDPOINT)
    assert world.kept == []


def test_after_our_restart_it_is_looked_after_too(world: World) -> None:
    world.is_sealed = world.there = True
    world.docker_says_running()
    world.sandboxes.recheck(LINK, GATEWAY)
    assert world.kept == [ENDPOINT]


def test_what_was_not_sealed_in_time_is_not_looked_after(world: World) -> None:
    world.late = True
    world.join()
    world.there = True
    world.clock.advance(0.004)
    assert world.kept == []


ROOT = FirstProcess(runs=True, problems=("Uid is 0 0 0 0 (root)",))
RUNC = FirstProcess(runs=False, problems=("CapEff is 1, not 0",))


def expect_stopped(world: World) -> None:
    assert world.plumbing.links == {}, "the link goes first"
    assert world.engine.killed == ["c1"]
    ((container, reason, why),) = world.stopped
    assert (container, reason) == ("c1", "process-status")
    assert "not as Docker was asked to run it" in why


@pytest.mark.parametrize("sealed_at_join", [True, False])
def test_root_in_disguise_is_stopped(world: World, *, sealed_at_join: bool) -> None:
    """Issue 2: the image calls root, or its group, `1000`."""
    world.there, world.first = sealed_at_join, ROOT
    world.join()
    world.there = True
    world.clock.advance(LOOK)
    expect_stopped(world)


@pytest.mark.parametrize("runtime", ["runsc", "runc"])
def test_a_kernel_of_its_own_is_no_process_of_the_container(world: World, runtime: str) -> None:
    world.there, world.first = True, ROOT
    world.engine.containers["c1"] = {"HostConfig": {"Runtime": runtime}}
    world.join()
    assert world.engine.killed == ([] if runtime == "runsc" else ["c1"])


def test_root_in_disguise_is_found_after_our_restart(world: World) -> None:
    world.there = world.is_sealed = True
    world.first = ROOT
    world.docker_says_running()
    world.sandboxes.recheck(LINK, GATEWAY)
    expect_stopped(world)


def test_runc_is_not_judged_what_it_becomes_is(world: World) -> None:
    world.there, world.first = True, None
    world.join()
    world.clock.pump([LOOK] * 4)
    world.first = RUNC
    world.clock.pump([LOOK] * 4)
    assert world.engine.killed == []
    world.first = ROOT
    world.clock.advance(LOOK)
    expect_stopped(world)


def test_a_good_process_is_looked_at_once(world: World) -> None:
    world.there = True
    world.join()
    world.first = ROOT
    world.clock.pump([LOOK] * 10)
    assert world.engine.killed == []
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("shown", [None, RUNC])
def test_hiding_does_not_help_once_docker_says_that_it_runs(world: World, shown: FirstProcess | None) -> None:
    """A program can take runc's name and lie on a volume; or netd may not see dockerd's processes at all."""
    world.there, world.first = True, shown
    world.engine.containers["c1"] = {"State": {"Running": False}}
    world.join()
    world.clock.pump([LOOK] * int(2 * SOON / LOOK))
    assert world.engine.killed == [], "a slow dockerd has all the time it wants"
    world.docker_says_running()
    world.clock.pump([LOOK, GRACE])
    assert world.engine.killed == [], "dockerd may not have noticed yet that it has ended"
    world.clock.advance(GRACE)
    expect_stopped(world)


def test_a_container_that_has_ended_is_not_stopped(world: World) -> None:
    world.there, world.first = True, None
    world.join()
    world.docker_says_running()
    world.clock.pump([LOOK] * int(SOON / LOOK + 1))
    world.there = False
    world.clock.pump([GRACE] * 3)
    assert world.engine.killed == []
    assert world.stopped == []


@pytest.mark.parametrize("where", ["first", "late", "introduce", "recheck"])
def test_a_container_that_cannot_be_judged_is_stopped(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we stumble over may be the container's own doing: a mistake of ours may not let it run on."""

    def stumble(*_: object) -> bool:
        raise UnicodeDecodeError("utf-8", b"\xc3", 0, 1, "invalid continuation byte")

    if where == "introduce":
        monkeypatch.setattr(world, "decide_existing", stumble)
    elif where == "recheck":
        monkeypatch.setattr(world, "holds", stumble)
    else:
        first, late = (stumble, lambda _: False) if where == "first" else (lambda _: world.first, stumble)
        world.sandboxes._probe = Probe(lambda _path: world.there, late, first)
    world.there = where != "late"
    if where == "recheck":
        world.docker_says_running()
        world.sandboxes.recheck(LINK, GATEWAY)
    else:
        world.join()
    world.there = True
    world.clock.advance(LOOK)
    assert world.plumbing.links == {}
    assert world.engine.killed == ["c1"]
    assert world.stopped[0][1] == "not-judged"
