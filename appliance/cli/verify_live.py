"""`egress verify --tenant T`: the instance that serves, tried from a container on its tenant's network."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import docker_host
from appliance.addresses import classify
from appliance.cli.failures import Failure
from appliance.cli.run import DEFAULT_IMAGE, hardened, log_flags, network_of, require_image
from appliance.cli.status import nothing_runs, state
from appliance.cli.tenant_files import existing
from appliance.policy.loader import load_operator_exceptions
from appliance.verify.live import selection
from appliance.verify.live.containers import Engine
from appliance.verify.live.world import CANARIES, LiveWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from appliance.settings import Settings
    from appliance.verify.case import Case

LOCK = Path("/run/egress-verify.lock")
LIMITS = {"memory": "512m", "cpus": "1", "pids": "256", "tmp": "64m"}
FEWEST = 2  # addresses of canaries: a case needs two that are not the same


class LivePlace:
    """Where the world of the serving instance comes from (see `appliance.cli.verify.Place`)."""

    def __init__(
        self, settings: Settings, tenant: str, addresses: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Look at everything before anything is changed. Raises `Failure` with the mend."""
        self._settings, self._tenant, self._say = settings, tenant, say
        self._addresses = canary_addresses(addresses)
        existing(settings, tenant)
        serving(settings)
        self._network = network_of(settings, tenant)
        require_image(settings, DEFAULT_IMAGE)
        self._networks = docker_host.networks(settings)
        self._another = next((n.name for n in self._networks if n.tenant != tenant), None)

    def choose(self, cases: Sequence[Case]) -> list[Case]:
        """Those of the table that can be tried here."""
        return selection.live(cases, another=self._another is not None)

    def plan(self) -> LiveWorld:
        """See `Place`."""
        run = f"verify-{secrets.token_hex(8)}"
        engine_log = log_flags(docker_host.log_driver(self._settings))

        def flags(network: str) -> list[str]:
            return [*hardened(self._tenant, network, run, LIMITS), *engine_log]

        settings = self._settings
        engine = Engine(settings.docker.socket, settings.instance, DEFAULT_IMAGE, flags)
        return LiveWorld(settings, engine, self._network, self._another, self._addresses)

    @contextmanager
    def stand(self) -> Iterator[LiveWorld]:
        """See `Place`."""
        with ExitStack() as stack:
            stack.enter_context(_alone())
            world = self.plan()
            stack.callback(world.close)
            world.up(self._pools())
            self._say(about(world, self._tenant))
            yield world

    def _pools(self) -> list[tuple[IPv4Network, str]]:
        """Ranges in which no canary may be: there it would be somebody else, or allowed."""
        settings = self._settings
        found = [(IPv4Network(n.subnet), f"the Docker network {n.name}") for n in self._networks if n.subnet]
        found += [
            (n, "which an exception in operator.yaml opens") for n, _ in load_operator_exceptions(settings)
        ]
        return [*found, (settings.uplink.address.network, "the uplink")]

    def logs(self) -> str:
        """See `Place`: what the instance that serves wrote is its operator's."""
        return f"logs: {self._settings.log_dir}; what was refused: egress log --denied"


def about(world: LiveWorld, tenant: str) -> str:
    """What is tried, and what the canaries are."""
    passed = (
        ""
        if world.passes_on
        else "; the host passes no packet on to them (a firewall?): the uplink's count stands"
    )
    return (
        f"tenant {tenant} of instance {world.instance}; canaries: {', '.join(world.addresses)}; a title's "
        f"public address is one of these: nothing is sent to anybody else{passed}"
    )


def canary_addresses(given: Sequence[str]) -> tuple[str, ...]:
    """The addresses, or those that we have. Raises `Failure` for one that is public, or is none."""
    for text in given:
        try:
            public = classify(IPv4Address(text)).is_public
        except ValueError as error:
            raise Failure(f"--canary {text}: this is no IPv4 address", exit_code=2) from error
        if public:
            raise Failure(
                f"--canary {text}: a public address is somebody's; name one that is not", exit_code=2
            )
    if given and len(set(given)) < FEWEST:
        raise Failure("one canary is too few; give --canary twice or more, or not at all", exit_code=2)
    return tuple(dict.fromkeys(given)) or CANARIES


def serving(settings: Settings) -> None:
    """Raises `Failure` unless every process is ready, and the gateway and not its fallback is who serves."""
    current = state(settings)
    if nothing_runs(current):
        raise Failure(f"instance {settings.instance!r} does not serve; start it: sudo egress up")
    missing = [name for name, answer in current["processes"].items() if not answer.get("ready")]
    if missing:
        raise Failure(f"not ready: {', '.join(missing)}; see: egress doctor")
    if current["processes"]["netd"].get("fallback_serves"):
        raise Failure(
            "the fallback serves in the gateway's place; see: egress doctor; then: egress fallback auto"
        )


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time on a host. The kernel forgets the lock with the process."""
    with LOCK.open("wb") as lock:
        os.fchmod(lock.fileno(), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failure("another `egress verify --tenant` is at work; wait for it") from error
        yield
