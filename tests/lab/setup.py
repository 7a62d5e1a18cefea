"""The lab's appliance put up in other ways for a while: behind a company's proxy, and without a capability."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import ipc
from appliance.listeners import listening_pid
from appliance.processes import SUPERVISOR, processes
from appliance.settings import SETTINGS_VARIABLE
from appliance.verify.case import Seat
from appliance.verify.world import UplinkProxy
from tests.lab import appliance, children, company, internet
from tests.lab.evidence import Tunnels
from tests.lab.namespaces import LabError

if TYPE_CHECKING:
    from tests.lab.world import LabWorld

PROXY = "uplink-proxy"
LOG = children.LOGS / f"{PROXY}.log"


class LabSetup:
    """See `appliance.verify.world.Setup`."""

    def __init__(self, world: LabWorld, until: Callable[[Callable[[], bool], str], None]) -> None:
        """`until` waits for something, or raises `LabError` with the words."""
        self._world = world
        self._until = until

    @property
    def proxy(self) -> UplinkProxy:
        return UplinkProxy(company.ADDRESS, company.PORT, Tunnels, self._touch)

    def _touch(self, authority: str) -> bool:
        if not children.alive(PROXY):
            children.start_module(PROXY, "tests.lab.company", namespace=internet.INTERNET)
            self._until(lambda: LOG.exists() and "ready" in LOG.read_text(), f"{PROXY} did not start")
        asked = f"CONNECT {authority} HTTP/1.1\\r\\n\\r\\nGET / HTTP/1.0\\r\\n\\r\\n"
        return self._world.probe("tcp", company.ADDRESS, str(company.PORT), asked)

    @contextmanager
    def behind_proxy(self) -> Iterator[None]:
        plain = appliance.SETTINGS_FILE.read_text()
        document = json.loads(plain)
        document["uplink"]["proxy"] = {"address": company.ADDRESS, "port": company.PORT}
        with self._as_it_was():
            try:
                self._kill()
                appliance.SETTINGS_FILE.write_text(json.dumps(document))
                self._begin()
                yield
            finally:
                self._kill()
                appliance.SETTINGS_FILE.write_text(plain)
                self._begin()

    @contextmanager
    def powerless(self, capability: str) -> Iterator[Callable[[], str]]:
        for tenant in self._world.tenants:
            self._world.run_as(Seat.SANDBOX, ("true",), tenant)  # so that its container is there
        word = capability.removeprefix("CAP_").lower()
        log = internet.STATE / "powerless.log"
        with self._as_it_was():
            try:
                self._kill()
                log.unlink(missing_ok=True)
                self._spawn(log, "setpriv", f"--bounding-set=-{word}", f"--inh-caps=-{word}")
                with self._world.as_if_away():
                    yield log.read_text
            finally:
                self._kill()
                self._begin()

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """Who decided about the fallback decides about it afterwards."""
        mode = self._netd().get("fallback_mode", "auto")
        yield
        if mode != "auto":
            done = self._world.egress("fallback", mode)
            if done.status != 0:
                raise LabError(f"the fallback is not {mode} again: {done.text}")

    def _begin(self) -> None:
        """As `egress up` does behind its checks; the engine asks our plugin as before."""
        self._spawn(self._world.settings.log_dir / "supervisor.log")
        self._world.wait_ready()

    def _spawn(self, log: Path, *before: str) -> None:
        """The supervisor, as nobody's child, so that its end is its own."""
        python = appliance.COMMAND.with_name("python3")
        environment = {"PATH": os.environ["PATH"], SETTINGS_VARIABLE: str(appliance.SETTINGS_FILE)}
        command = ("setsid", "--fork", *before, str(python), "-m", "appliance.supervise")
        with log.open("ab") as output:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd="/", check=True
            )  # fmt: skip

    def _kill(self) -> None:
        settings = self._world.settings
        for name in (SUPERVISOR, *(process.name for process in processes(settings))):
            pid = listening_pid(str(settings.control_socket(name)))
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                self._until(lambda pid=pid: _ended(pid), f"{name} goes on")  # type: ignore[misc]

    def _netd(self) -> dict[str, Any]:
        return dict(ipc.ask(str(self._world.settings.control_socket("netd")), {"op": "status"}, timeout=10))


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
