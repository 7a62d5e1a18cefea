"""The lab as the world of the battery: the closed Internet's canaries, a real appliance, hardened containers.

A `LabWorld` stands at no cost, so that rows can be made of it; what a row does needs the lab and the appliance up.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from appliance import ipc
from appliance import settings as settings_module
from appliance.cli.status import state
from appliance.listeners import listening_pid
from appliance.processes import SUPERVISOR, processes
from appliance.settings import Settings
from appliance.verify import world
from appliance.verify.case import Evidence, Image, Layer, Output, Seat
from appliance.verify.world import Account, Accounts, Packages, Server, Targets
from tests.lab import accounts, appliance, internet, packages, policies
from tests.lab.accounts import Kept
from tests.lab.containers import (
    IMAGES,
    build_images,
    build_static_client,
    run_hardened,
)
from tests.lab.evidence import Calls, HostConnections, NeighbourConnections, Packets, Queries, Requests
from tests.lab.lab import BRIDGE, HTTP_TEXT, PROBE, Lab, exclusive, host_addresses
from tests.lab.namespaces import LabError, run
from tests.lab.neighbour import PORT as NEIGHBOUR_PORT
from tests.lab.residents import STAYS, Resident, until
from tests.lab.setup import LabSetup

SECONDS = 60.0
WAIT_SECONDS = 600.0  # as long as a test run may hold the lab
NEIGHBOUR = Path(__file__).with_name("neighbour.py").read_text()
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _site(site: internet.Site) -> world.Site:
    return world.Site(site.name, site.address)


TARGETS = Targets(
    www=_site(internet.WWW),
    other=_site(internet.OTHER),
    expired=_site(internet.EXPIRED),
    self_signed=_site(internet.SELF_SIGNED),
    wrong_host=_site(internet.WRONG_HOST),
    liar=_site(internet.LIAR),
    old_tls=_site(internet.OLD_TLS),
    asks_who=_site(internet.ASKS_WHO),
    private=internet.PRIVATE,
    metadata=internet.METADATA,
    literal=internet.LITERAL,
    decoy=internet.DECOY,
    public_resolver=internet.PUBLIC_RESOLVER,
    public_6=internet.PUBLIC_6,
    zone="example.net",
    leaks="exfil.example.com",
    special=internet.SPECIAL,
    issuer="Egress lab authority",
    packages=Packages(packages.NAME, _site(internet.PYPI), _site(internet.NPM), _site(internet.GIT)),
)


def _account(kept: Kept) -> Account:
    return Account(kept.name, _site(kept.sites[0]), kept.secret)


def _accounts(mirror: Kept, chat: Kept, theirs: Kept) -> Accounts:
    run_dir = appliance.DIRECTORIES["run_dir"]
    sockets = Settings(run_dir=run_dir)
    return Accounts(
        _account(mirror),
        _account(chat),
        _account(theirs),
        str(sockets.calls_socket),
        str(sockets.dials_socket),
    )


class LabWorld:
    """See `appliance.verify.world.World`.

    While `stays` is set, commands run in containers that stay: starting one for each takes most of the time.
    """

    def __init__(self, *, stays: bool = False) -> None:
        self.stays = stays
        self.kept = accounts.of_battery()
        self.targets = replace(TARGETS, setup=LabSetup(self, until), accounts=_accounts(*self.kept))
        self.tenants = {"reader": policies.READER, "lister": policies.LISTER}
        self._lab: Lab | None = None
        self._residents: dict[str, Resident] = {}
        self._away = False

    def attach(self, lab: Lab) -> None:
        """Use this lab, in which an appliance with the tenants of `policies` is up."""
        self._lab = lab
        self.close()

    def keep_secrets(self) -> None:
        """Put the battery's accounts into the appliance, and providers into the lab."""
        accounts.keep(self.kept)

    @property
    def lab(self) -> Lab:
        """The lab. Raises `LabError` when there is none."""
        if self._lab is None:
            raise LabError("the lab is not up")
        return self._lab

    @property
    def settings(self) -> Settings:
        """The settings of the lab's appliance."""
        return settings_module.load(appliance.SETTINGS_FILE)

    @property
    def instance(self) -> str:
        return appliance.INSTANCE

    # ---- evidence

    def packets(
        self,
        address: str | None = None,
        protocol: str | None = None,
        port: int | None = None,
        version: int | None = None,
    ) -> Evidence:
        return Packets(address, protocol, port, version)

    def requests(self, host: str, method: str | None = None, path: str | None = None) -> Evidence:
        return Requests(host, method, path)

    def calls(self, account: Account, path: str = "*", *, known: bool = False) -> Evidence:
        return Calls(account.site.name, path, known)

    def queries(self, name: str) -> Evidence:
        return Queries(name)

    def settle(self) -> None:
        try:
            self.lab.settle()
        except LabError as error:
            raise OSError(str(error)) from error

    # ---- the control

    def probe(self, *arguments: str) -> bool:
        return self.lab.probe(*arguments).returncode == 0

    def fetch(self, site: world.Site, path: str = "/", *options: str) -> bool:
        return self.lab.fetch(site.name, site.address, path, *options).returncode == 0

    def asks(self, name: str) -> bool:
        return bool(self.lab.dig(name))

    # ---- the workload

    def run(
        self, tenant: str, command: Sequence[str], *, image: Image = Image.PYTHON, options: Sequence[str] = ()
    ) -> Output:
        plain = image is Image.PYTHON and not options
        if not self._away and not (self.stays and plain and tenant in self.tenants):
            return run_hardened(self.tenants.get(tenant, tenant), IMAGES[image], command, *options)
        if not plain:
            raise LabError("while nothing of ours runs, there is only the container that was started before")
        return self._resident(tenant, STAYS).run(command)

    def run_as(self, seat: Seat, command: Sequence[str], tenant: str = "reader") -> Output:
        if seat is Seat.CONTAINER:
            return self.run(tenant, command)
        if seat is Seat.SANDBOX:
            return _run(self._resident(tenant, STAYS).inside(*command), {"PATH": PATH})
        uids = self.settings.uids
        uid = str({Seat.GATEWAY: uids.gateway, Seat.RESOLVER: uids.resolver, Seat.SQUID: uids.squid}[seat])
        become = ("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs",
                  "--bounding-set=-all", "--inh-caps=-all")  # fmt: skip
        return _run(self._in_gateway(*become, *command), {"PATH": PATH})

    def server(self, tenant: str) -> Server:
        resident = self._resident(tenant, ("python3", "-c", NEIGHBOUR))
        probe = ("/usr/bin/python3", str(PROBE), "tcp", resident.address, str(NEIGHBOUR_PORT), HTTP_TEXT)
        return Server(
            resident.address,
            NEIGHBOUR_PORT,
            NeighbourConnections(resident.said),
            lambda: _run(resident.inside(*probe), {"PATH": PATH}).status == 0,
        )

    def _resident(self, tenant: str, command: Sequence[str]) -> Resident:
        key = f"{tenant} {command is STAYS}"
        found = self._residents.get(key)
        if found is None or not found.alive:
            if self._away:
                raise LabError(f"no container of {tenant} was started in time")
            network = self.tenants.get(tenant, tenant)
            found = self._residents[key] = Resident(network, command, command is not STAYS)
        return found

    def close(self) -> None:
        """End the containers that stayed."""
        for resident in self._residents.values():
            resident.close()
        self._residents.clear()

    # ---- the host

    def host_addresses(self) -> Sequence[str]:
        return tuple(host_addresses())

    def host_server(self) -> Server:
        bridge, port = self.lab.bridge_address, internet.HOST_CANARY_PORT
        if bridge is None:
            raise LabError(f"the host has no {BRIDGE}; is the Docker engine running?")
        touch = ("tcp", bridge, str(port), HTTP_TEXT)
        return Server(
            bridge, port, HostConnections(bridge), lambda: self.lab.probe_host(*touch).returncode == 0
        )

    # ---- the operator, and what befalls the appliance

    def egress(self, *words: str) -> Output:
        done = appliance.egress(*words, check=False)
        return Output(done.returncode, done.stdout + done.stderr)

    def docker(self, *words: str) -> Output:
        return _run(("docker", *words), {"PATH": PATH})

    def in_gateway(self, *command: str) -> Output:
        return _run(self._in_gateway(*command), {"PATH": PATH})

    def _in_gateway(self, *command: str) -> tuple[str, ...]:
        return ("nsenter", f"--net=/run/netns/{self.settings.namespace}", *command)

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        settings = self.settings
        for tenant in self.tenants:
            self._resident(tenant, STAYS)
        supervisor = listening_pid(str(settings.control_socket(SUPERVISOR)))
        if supervisor is None:
            raise LabError("the supervisor does not run")
        victims = [
            process.name
            for process in processes(settings)
            if not names or process.name.startswith(tuple(names))
        ]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            with self.as_if_away():
                for name in victims:
                    pid = listening_pid(str(settings.control_socket(name)))
                    if pid is not None:
                        os.kill(pid, signal.SIGKILL)
                yield
        finally:
            os.kill(supervisor, signal.SIGCONT)
            self.wait_ready()

    @contextmanager
    def as_if_away(self) -> Iterator[None]:
        """Containers can not be started: those that are there are used."""
        self._away = True
        try:
            yield
        finally:
            self._away = False

    def wait_ready(self) -> None:
        """Wait until the appliance serves and the engine is answered. Raises `LabError`.

        The engine is asked last: one that finds no plugin waits longer each time before it looks again.
        """
        until(self._serves, "the appliance did not come back")
        until(
            lambda: state(self.settings)["ready"] and run("docker", "ps", "-q", check=False, timeout=5) != "",
            "the appliance did not come back",
        )

    def _serves(self) -> bool:
        try:
            socket = self.settings.control_socket(SUPERVISOR)
            return bool(ipc.ask(str(socket), {"op": "status"}, timeout=2).get("ready"))
        except (OSError, ValueError):
            return False

    def at(self, layer: Layer) -> AbstractContextManager[None]:
        if layer is Layer.KERNEL:
            return self.without()
        if layer is Layer.SQUID:
            return self._fallen_back()
        return nullcontext()

    @contextmanager
    def _fallen_back(self) -> Iterator[None]:
        self._command("fallback", "on")
        try:
            yield
        finally:
            self._command("fallback", "auto")

    def _command(self, *words: str) -> None:
        done = self.egress(*words)
        if done.status != 0:
            raise LabError(f"egress {' '.join(words)}: {done.text}")


def _run(command: Sequence[str], environment: dict[str, str]) -> Output:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=SECONDS, check=False, env=environment, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout.decode(errors="replace") if isinstance(expired.stdout, bytes) else ""
        return Output(None, f"{said}\n(stopped after {SECONDS:.0f} s)")
    return Output(done.returncode, done.stdout)


def plan() -> LabWorld:
    """A world of which rows can be made, and nothing else."""
    return LabWorld()


@contextmanager
def stand(*, stays: bool = False) -> Iterator[LabWorld]:
    """Images, a lab, an appliance, and the world that they make; all but the images gone afterwards."""
    build_images(lambda _line: None)
    with ExitStack() as stack:
        stack.enter_context(exclusive(WAIT_SECONDS))
        appliance.remove_leftovers()
        lab = stack.enter_context(Lab(locked=True))
        build_static_client(IMAGES[Image.STATIC], IMAGES[Image.PYTHON])
        stack.enter_context(appliance.Appliance(lab, policies.POLICIES))
        world = LabWorld(stays=stays)
        world.attach(lab)
        world.keep_secrets()
        stack.callback(world.close)
        yield world


def logs() -> str:
    """The end of what the appliance wrote."""
    return appliance.failure_logs()
