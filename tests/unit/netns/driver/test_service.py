"""What the driver is wired with."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from driver_fakes import (
    ENDPOINT,
    NET,
    OTHER_NET,
    FakeEngine,
    FakePlumbing,
    FakeSandboxes,
    FakeSwitch,
    posted,
    run,
)
from requests_to_docker import WEB, create, inspected
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from appliance.settings import DockerSettings, NameServer, ResolverSettings, Settings, Uplink, UplinkProxy
from netns.driver import service
from netns.driver.containers import Containers
from netns.driver.facts import Member, NetworkFact, Running
from netns.driver.network_driver import NetworkDriver
from netns.driver.service import known_endpoints, plugin, surroundings, take_over, tenants_in
from netns.plumbing import Attachment, Network


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
    *watching, taking_over = sorted(reactor.getDelayedCalls(), key=lambda call: -call.time)
    for end, words, named in reactor.triggers["during"]["shutdown"]:
        end(*words, **named)
    assert len(watching) == 2, "the engine's switch and the containers"
    assert not any(call.active() for call in watching)
    assert taking_over.active(), "not before the site is served: dockerd asks us before it answers us"


POOL = IPv4Network("172.20.0.0/16")
LINKED = NetworkFact(NET, "acme", "linked", "acme", POOL, POOL[1])
"""A network that our driver has accepted under a name that says nothing of it."""


class Dockerd(FakeEngine):
    """In the place of `DockerFacts`."""

    def close(self) -> None:
        pass


@pytest.fixture
def dockerd(monkeypatch: pytest.MonkeyPatch) -> Dockerd:
    engine = Dockerd()
    engine.net = [LINKED, WEB]
    monkeypatch.setattr(service, "DockerFacts", lambda *_, **__: engine)
    return engine


@pytest.fixture
def plumbing() -> FakePlumbing:
    found = FakePlumbing()
    found.net[NET] = Network(NET, "acme", POOL, POOL[1])
    found.links[ENDPOINT] = Attachment(ENDPOINT, NET, "acme", POOL[2], "02:00:00:00:00:01")
    return found


class Audit:
    """Every record."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def write(self, record: Any) -> None:
        self.records.append(record)


def test_endpoints_on_a_network_that_was_accepted_are_known(dockerd: Dockerd, plumbing: FakePlumbing) -> None:
    """Else the link of a container that runs would be removed as one that Docker does not have."""
    dockerd.member = {NET: (Member(ENDPOINT, "c1", "x"),), OTHER_NET: (Member("f" * 64, "c2", "y"),)}
    assert run(known_endpoints(plumbing, Settings(), None)) == {ENDPOINT}
    assert run(known_endpoints(FakePlumbing(), Settings(), None)) == frozenset(), "the control"
    dockerd.net = [NetworkFact(NET, "acme", "./egress")]
    assert run(known_endpoints(FakePlumbing(), Settings(), None)) == {ENDPOINT}
    dockerd.silent = True
    assert run(known_endpoints(plumbing, Settings(), None)) is None


def test_what_is_served_judges_what_was_accepted_and_what_was_done(
    dockerd: Dockerd, plumbing: FakePlumbing, tmp_path: Path
) -> None:
    """A connect that was admitted for another container, which had this one's name a moment later."""
    reactor: Any = MemoryReactorClock()  # type: ignore[no-untyped-call] # Twisted
    audit: Any = Audit()
    settings = Settings(run_dir=tmp_path, docker=DockerSettings(socket=tmp_path / "none.sock", root=tmp_path))
    site = plugin(plumbing, settings, reactor, audit).site

    def ask(path: str, target: str) -> dict[str, Any]:
        body = {"RequestMethod": "POST", "RequestUri": target, "ResponseStatusCode": 200}
        status, answer = posted(site, path, json.dumps(body).encode())
        assert status == 200
        return dict(answer)

    dockerd.containers["c1"] = inspected(create(host={"NetworkMode": "acme"}), LINKED, WEB)
    dockerd.run = [Running("c1", ("acme", "web", NET, OTHER_NET), (ENDPOINT, "f" * 64))]
    refused = ask("/AuthZPlugin.AuthZReq", "/containers/c1/start")
    assert "may not have --network web as well" in refused["Msg"]
    assert ask("/AuthZPlugin.AuthZRes", "/containers/c2/stop") == {"Allow": True}
    assert dockerd.killed == []
    assert ask("/AuthZPlugin.AuthZRes", "/networks/web/connect") == {"Allow": True}
    assert (dockerd.killed, dockerd.ended, plumbing.links) == (["c1"], ["c1"], {})
    assert [(record.operation, record.reason) for record in audit.records] == [
        ("start", "one-network"), ("run", "one-network"),
    ]  # fmt: skip
    for end, words, named in reactor.triggers["during"]["shutdown"]:
        end(*words, **named)
