"""A seal that somebody undid is made again; one that cannot be made again ends the container's network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from driver_fakes import ENDPOINT, NET
from twisted.internet.task import Clock

from netns.driver.seal_keeper import EVERY, SealKeeper
from netns.driver.sealer import SealFailed
from netns.plumbing import Attachment

GATEWAY = IPv4Address("172.20.0.1")
LINK = Attachment(ENDPOINT, NET, "acme", IPv4Address("172.20.0.2"), "02:42:ac:14:00:02")
SANDBOX = Path("/var/run/docker/netns/k")


class World:
    """A sandbox and its sealer."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sealed = True
        self.gone = self.broken = False
        self.number = 7
        self.looks = 0
        self.told: list[str] = []
        self.keeper = SealKeeper(
            self.clock,
            self,
            self._at_once,
            resealed=lambda link: self.told.append(f"resealed {link.endpoint}"),
            lost=self._lost,
            generation_in=self._generation,
        )
        self.keeper.keep(LINK, SANDBOX, GATEWAY)

    async def _at_once(self, question: Callable[[Path], int], sandbox: Path, /) -> int:
        return question(sandbox)

    def _generation(self, sandbox: Path) -> int:
        assert sandbox == SANDBOX
        if self.gone:
            raise FileNotFoundError(sandbox)
        return self.number

    async def _lost(self, link: Attachment, why: str) -> None:
        self.told.append(f"lost {link.endpoint}: {why}")

    async def holds(self, sandbox: Path, gateway: IPv4Address) -> bool:
        self.looks += 1
        assert gateway == GATEWAY
        return self.sealed and not self.gone

    async def seal_again(self, sandbox: Path, gateway: IPv4Address) -> None:
        if self.broken:
            raise SealFailed("no nft")
        self.sealed = True
        self.number += 1

    def undo(self) -> None:
        self.sealed = False
        self.number += 1


@pytest.fixture
def world() -> World:
    return World()


def test_an_untouched_sandbox_is_read_once_and_then_only_counted(world: World) -> None:
    world.clock.pump([EVERY] * 20)
    assert (world.looks, world.told) == (1, [])


def test_a20_an_undone_seal_is_made_again_within_a_second_and_told_once(world: World) -> None:
    world.clock.pump([EVERY] * 3)
    world.undo()
    world.clock.pump([EVERY] * 2)
    assert world.sealed
    assert world.told == [f"resealed {ENDPOINT}"]
    world.clock.pump([EVERY] * 10)
    assert world.told == [f"resealed {ENDPOINT}"]
    assert EVERY < 1


def test_what_docker_changes_beside_it_is_looked_at_and_left(world: World) -> None:
    world.clock.pump([EVERY] * 3)
    world.number += 1
    world.clock.pump([EVERY] * 3)
    assert (world.looks, world.told) == (2, [])


def test_what_cannot_be_sealed_again_loses_its_link(world: World) -> None:
    world.undo()
    world.broken = True
    world.clock.pump([EVERY] * 5)
    assert world.told == [f"lost {ENDPOINT}: no nft"]


def test_a_sandbox_that_ended_is_no_undone_seal(world: World) -> None:
    world.gone = True
    world.clock.pump([EVERY] * 5)
    assert world.told == []


def test_forgotten_it_is_looked_at_no_more(world: World) -> None:
    world.keeper.forget(ENDPOINT)
    world.keeper.forget(ENDPOINT)
    world.undo()
    world.clock.pump([EVERY] * 5)
    assert (world.looks, world.told) == (0, [])


def test_a_new_link_of_the_same_endpoint_is_looked_at_anew(world: World) -> None:
    world.clock.pump([EVERY] * 2)
    world.keeper.keep(replace(LINK, mac="02:42:ac:14:00:03"), SANDBOX, GATEWAY)
    world.clock.pump([EVERY] * 2)
    assert world.looks == 2


def test_stopped_it_looks_no_more(world: World) -> None:
    world.keeper.stop()
    world.undo()
    world.clock.pump([EVERY] * 5)
    assert world.looks == 0
    assert world.clock.getDelayedCalls() == []


def test_a_mistake_of_ours_ends_no_looks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netns.driver.seal_keeper._log.failure", lambda *_, **__: None)
    world.clock.pump([EVERY] * 3)
    with monkeypatch.context() as broken:
        broken.setattr(world, "number", "no number")
        broken.setattr(world, "holds", lambda *_: 1 / 0)
        world.clock.pump([EVERY] * 2)
    world.undo()
    world.clock.pump([EVERY] * 2)
    assert world.sealed
