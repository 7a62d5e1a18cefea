"""The Docker side of netd, wired: what `netns.main` serves on the plugin socket."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Site

from appliance.admission_probe import is_announced
from appliance.audit.log import AuditLog
from appliance.docker_root import seen_from_here
from appliance.settings import Settings
from netns.driver.authz import Authorization
from netns.driver.container_watch import ContainerWatch
from netns.driver.containers import Containers
from netns.driver.docker_facts import DockerFacts
from netns.driver.ending import Stop
from netns.driver.engine_age import age_of_engine
from netns.driver.facts import Engine, EngineUnavailable
from netns.driver.inside import fixed_inside
from netns.driver.journal import Journal
from netns.driver.network_driver import NetworkDriver
from netns.driver.network_request import Surroundings, is_ours
from netns.driver.refusal import DriverRefused
from netns.driver.sandboxes import Probe, Sandboxes
from netns.driver.seal_keeper import SealKeeper
from netns.driver.sealer import Sealer
from netns.driver.switch import AdmissionSwitch, mend
from netns.driver.switch_watch import SwitchWatch
from netns.driver.wire import site
from netns.plumbing import Attachment, Endpoints

RETRY = 2.0  # seconds between two questions to a dockerd that is not there yet
SWITCH_TIMEOUT = 2  # seconds; while dockerd starts it wires containers, but answers nothing

_log = Logger()


def tenants_in(directory: Path) -> frozenset[str]:
    """Names of the tenants that have a policy document."""
    try:
        return frozenset(path.stem for path in directory.iterdir() if path.suffix == ".yaml")
    except OSError:
        return frozenset()


def surroundings(plumbing: Endpoints, settings: Settings) -> Surroundings:
    """What a new network must not collide with, now."""
    servers: tuple[IPv4Address, ...] = tuple(server.address for server in settings.resolver.servers)
    if settings.uplink.proxy is not None:
        servers = (*servers, settings.uplink.proxy.address)
    return Surroundings(
        driver=settings.instance,
        tenants=tenants_in(settings.tenants_dir),
        tenants_dir=str(settings.tenants_dir),
        taken=plumbing.networks(),
        uplink=settings.uplink.address.network,
        servers=servers,
    )


def accepted_by(plumbing: Endpoints) -> Collection[str]:
    """Ids of the networks that our driver has accepted, now."""
    return frozenset(network.id for network in plumbing.networks())


@dataclass(frozen=True, slots=True)
class Plugin:
    """What answers dockerd, and the one way to stop a container."""

    site: Site
    stop: Stop


def plugin(plumbing: Endpoints, settings: Settings, reactor: Any, audit: AuditLog) -> Plugin:
    """The Docker driver, wired; refusals are written to `audit`.

    Also begins, in the background, to take over what was there before.

    Three connections to dockerd, because one kind of question may wait for a container's lock while dockerd
    holds that lock and waits for another of our answers.
    """
    connection = partial(DockerFacts, reactor, settings.docker.socket)
    judging = connection(threads=8)
    following = connection(threads=8, timeout=60)
    switching = connection(threads=2, timeout=SWITCH_TIMEOUT)
    sealer = Sealer(reactor)
    journal = Journal(audit)

    switch = _switch(switching, settings, reactor)
    watch = _switch_watch(switch, plumbing, settings, reactor, journal)
    judge = Authorization(
        following,
        settings.instance,
        *_in_dockerds_root(settings),
        accepted=partial(accepted_by, plumbing),
    )
    containers = Containers(reactor, following, plumbing, judge, journal.stopped, ended=journal.ended)
    container_watch = ContainerWatch(reactor, plumbing, judge, containers)
    keeper = _seal_keeper(sealer, containers, reactor, journal)
    sandboxes = Sandboxes(
        reactor,
        settings.docker.root,
        sealer,
        containers,
        probe=Probe(),
        in_thread=sealer.in_thread,
        keeper=keeper,
    )
    driver = NetworkDriver(plumbing, switching, switch, sandboxes, lambda: surroundings(plumbing, settings))
    authorization = _authorization(
        judging,
        settings,
        journal,
        switch,
        containers,
        accepted=partial(accepted_by, plumbing),
        changed=container_watch.changed,
    )

    watch.start()
    container_watch.start()
    for part in (watch, container_watch, keeper, sandboxes):
        reactor.addSystemEventTrigger("during", "shutdown", part.stop)
    for asked in (judging, following, switching, sealer):
        reactor.addSystemEventTrigger("during", "shutdown", asked.close)
    Deferred.fromCoroutine(take_over(driver, plumbing, sandboxes, containers)).addErrback(
        lambda failure: _log.failure("taking over failed", failure=failure)
    )
    return Plugin(site(driver, authorization), containers.stop)


def _switch(engine: Engine, settings: Settings, reactor: Any) -> AdmissionSwitch:
    return AdmissionSwitch(
        engine,
        settings.instance,
        _daemon_json(settings),
        reactor.seconds,
        partial(age_of_engine, settings.docker),
    )


def _switch_watch(
    switch: AdmissionSwitch, plumbing: Endpoints, settings: Settings, reactor: Any, journal: Journal
) -> SwitchWatch:
    how = mend(settings.instance, _daemon_json(settings))
    return SwitchWatch(
        reactor, switch.asks, lambda: bool(plumbing.networks()), lambda on: journal.admission(how, on=on)
    )


def _seal_keeper(sealer: Sealer, containers: Containers, reactor: Any, journal: Journal) -> SealKeeper:
    async def unsealed(attachment: Attachment, why: str) -> None:
        await containers.stop(attachment, "not-sealed", why)

    return SealKeeper(reactor, sealer, sealer.in_thread, resealed=journal.resealed, lost=unsealed)


def _authorization(
    engine: Engine,
    settings: Settings,
    journal: Journal,
    switch: AdmissionSwitch,
    containers: Containers,
    *,
    accepted: Callable[[], Collection[str]],
    changed: Callable[[], None],
) -> Authorization:
    """What dockerd asks about every call of its API."""

    def start_refused(reference: str) -> None:
        Deferred.fromCoroutine(containers.tidy(reference)).addErrback(
            lambda failure: _log.failure("tidying failed", failure=failure)
        )

    return Authorization(
        engine,
        settings.instance,
        *_in_dockerds_root(settings),
        report=journal.refused,
        heard=switch.heard,
        unrecordable=journal.unrecordable,
        announced=partial(is_announced, settings.run_dir),
        start_refused=start_refused,
        accepted=accepted,
        changed=changed,
    )


def _daemon_json(settings: Settings) -> Path:
    return seen_from_here(settings.docker.root, str(settings.docker.daemon_json))


def _in_dockerds_root(settings: Settings) -> tuple[str, Callable[[str], str]]:
    """Where tenants' directories are for dockerd, and what it takes a path for."""
    return str(settings.state_dir / "tenants"), partial(fixed_inside, settings.docker.root)


async def take_over(
    driver: NetworkDriver, plumbing: Endpoints, sandboxes: Sandboxes, containers: Containers
) -> None:
    """After our own start: networks from Docker, links from the kernel, the seal of each container."""
    links = plumbing.attachments()
    while True:
        # Not before the site is served: with the plugin on, dockerd asks us before it answers us.
        await containers.pause(0 if plumbing.networks() else 0.05)
        try:
            await driver.restore()
            break
        except DriverRefused as error:
            _log.warn("{error}", error=str(error))
            await containers.pause(RETRY)
    gateways = {network.id: network.gateway for network in plumbing.networks()}
    for link in links:
        if link.network in gateways:
            sandboxes.recheck(link, gateways[link.network])


async def known_endpoints(plumbing: Endpoints, settings: Settings, reactor: Any) -> frozenset[str] | None:
    """Ids of the endpoints that Docker has on networks of ours; None when it does not answer."""
    engine = DockerFacts(reactor, settings.docker.socket, threads=1, timeout=5)
    try:
        found: set[str] = set()
        for network in await engine.networks():
            if is_ours(network, settings.instance, accepted_by(plumbing)):
                found |= {member.endpoint for member in await engine.members(network.id)}
    except EngineUnavailable as error:
        _log.warn("{error}", error=str(error))
        return None
    finally:
        engine.close()
    return frozenset(found)
