"""What the driver is wired with."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from driver_fakes import ENDPOINT, NET, FakeEngine, FakePlumbing, FakeSandboxes, FakeSwitch
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from appliance.settings import DockerSettings, NameServer, ResolverSettings, Settings, Uplink, UplinkProxy
from netns.driver.containers import Containers
from netns.driver.facts import NetworkFact
from netns.driver.network_driver import NetworkDriver
from netns.driver.service import plugin, surroundings, take_over, tenants_in
from netns.plumbing import Attachment


def test_tenants_are_those_with_a_document(tmp_path: Path) -> None:
    for name in ("acme.yaml", "note.txt", "zeta.yaml"):
        (tmp_path / name).touch()
    assert tenants_in(tmp_path) == {"acme", "zeta"}
    assert tenants_in(tmp_path / "none") == frozenset()


def test_the_uplink_is_not_to_be_shadowed() -> None:
    assert surroundings(FakePlumbing(), Settings()).uplink == IPv4Network("198.18.83.0/30")


def test_no_pool_may_hold_what_the_gateway_has_to_reach() -> None:
    proxy = UplinkProxy(address=IPv4Address("10.8.0.5"), port=3128)
    servers = ResolverSettings(servers=(NameServer(address=IPv4Address("10.0.0.53")),))
    settings = Settings(uplink=Uplink(proxy=proxy), resolver=servers)
    around = surroundings(FakePlumbing(), settings)
    assert tuple(around.servers) == (IPv4Address("10.0.0.53"), IPv4Address("10.8.0.5"))


class Rechecks(FakeSandboxes):
    def recheck(self, attachment: Attachment, gateway: object) -> None:
        self.log.append(("recheck", attachment.endpoint))


def test_taking_over_waits_for_dockerd_then_looks_at_every_link() -> None:
    clock, engine, plumbing, sandboxes = Clock(), FakeEngine(), FakePlumbing(), Rechecks()
    around = surroundings(plumbing, Settings())
    fact: Any = dict(id=NET, name="acme", driver="egress", tenant="acme")  # noqa: C408 - keyword form of the type
    pool = IPv4Network("172.20.0.0/16")
    engine.net = [NetworkFact(**fact, pool=pool, gateway=pool[1])]
    plumbing.links[ENDPOINT] = Attachment(ENDPOINT, NET, "acme", pool[2], "02:00:00:00:00:01")
    engine.silent = True
    driver = NetworkDriver(plumbing, engine, FakeSwitch(), sandboxes, lambda: around)
    containers = Containers(clock, engine, plumbing, driver)  # type: ignore[arg-type] # not asked to judge
    done: list[object] = []
    work = take_over(driver, plumbing, sandboxes, containers)  # type: ignore[arg-type] # a fake of it
    Deferred.fromCoroutine(work).addBoth(done.append)
    clock.pump([0.1] + [2.1] * 3)
    assert done == []
    engine.silent = False
    clock.pump([2.1] * 2)
    assert done == [None]
    assert sandboxes.log == [("recheck", ENDPOINT)]


def test_what_is_served_ends_with_its_reactor(tmp_path: Path) -> None:
    reactor: Any = MemoryReactorClock()  # type: ignore[no-untyped-call] # Twisted
    audit: Any = object()
    docker = DockerSettings(socket=tmp_path / "none.sock", root=tmp_path)
    plugin(FakePlumbing(), Settings(docker=docker), reactor, audit)
    watching, taking_over = sorted(reactor.getDelayedCalls(), key=lambda call: -call.time)
    for end, words, named in reactor.triggers["during"]["shutdown"]:
        end(*words, **named)
    assert not watching.active()
    assert taking_over.active(), "not before the site is served: dockerd asks us before it answers us"
