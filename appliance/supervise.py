"""Keep the appliance's processes running: `egress up` starts this and returns.

Order matters once, at the start: a process that lives in the gateway namespace is started only after netd has
said that the namespace and its rules stand. Afterwards each process is restarted on its own; the others, and
the kernel's rules, keep holding while one is away. The supervisor's death stops nothing: its children go on,
and the next `egress up` takes over from them.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from twisted.internet import defer, task, threads
from twisted.logger import Logger
from twisted.runner.procmon import ProcessMonitor

from appliance import ipc
from appliance.control import ControlFactory, Operation, Peer
from appliance.listeners import STOP_WITHIN, is_zombie, listening_pid, stop_process
from appliance.processes import SQUID, SUPERVISOR, Process, processes

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore, IReactorProcess, IReactorTime

    from appliance.settings import Settings

log = Logger()

READY_WITHIN = 60.0  # seconds for a process to become ready before we say that it did not


def stop_leftovers(settings: Settings) -> list[str]:
    """Stop every process of the instance that still runs, gateways first. Names of those stopped."""
    stopped = []
    for process in reversed(processes(settings)):
        pid = listening_pid(str(settings.control_socket(process.name)))
        if pid is not None and pid != os.getpid():
            stop_process(pid)
            stopped.append(process.name)
    return stopped


def launch_command(process: Process) -> list[str]:
    """The command that becomes `process`: the privileged launcher, which execs the service."""
    return [sys.executable, "-m", "netns.launch", process.name]


class Supervisor:
    """Runs the process table under twisted's process monitor and answers on its own control socket."""

    def __init__(self, reactor: Any, settings: Settings, environment: dict[str, str]) -> None:
        """`reactor` gives processes and time; `environment` is what each launcher inherits."""
        self._reactor: IReactorCore | IReactorProcess | IReactorTime = reactor
        self._settings = settings
        self._environment = environment
        self._table = processes(settings)
        self._monitor = ProcessMonitor(reactor)
        self._monitor.threshold = 1  # s of life after which a start counts as good
        self._monitor.killTime = STOP_WITHIN  # type: ignore[assignment]  # as below
        # Seconds; procmon's annotations say int, its arithmetic takes any number.
        self._monitor.minRestartDelay = 0.1  # type: ignore[assignment]  # as above
        self._monitor.maxRestartDelay = 5
        self.ready = False

    async def start(self) -> None:
        """Bring everything up in order. Raises `TimeoutError` naming the process that did not come up."""
        self._monitor.startService()
        outside = [p for p in self._table if not p.in_gateway_namespace]
        inside = [p for p in self._table if p.in_gateway_namespace]
        for group in (outside, inside):
            for process in group:
                log.info("starting {name}", name=process.name)
                self._monitor.addProcess(process.name, launch_command(process), env=self._environment)
            for process in group:
                await self._until_ready(process)
        self.ready = True
        log.info("all {count} processes are ready", count=len(self._table))

    async def stop(self) -> None:
        """Stop all processes, the ones that serve tenants first."""
        self.ready = False
        # The fallback before the gateway, or it would take over in the moment between.
        for names in ((SQUID,), _names(self._table, inside=True), _names(self._table, inside=False)):
            waiting = []
            for name in names:
                if name in self._monitor._processes:  # noqa: SLF001 - procmon has no public membership test
                    pid = self.pid(name)
                    self._monitor.removeProcess(name)
                    waiting.append(pid)
            deadline = time.monotonic() + STOP_WITHIN + 2
            while any(pid and not is_zombie(pid) for pid in waiting) and time.monotonic() < deadline:
                await task.deferLater(self._reactor, 0.05)  # type: ignore[arg-type]  # it is all of these in one
        await defer.maybeDeferred(self._monitor.stopService)

    def pid(self, name: str) -> int | None:
        """Pid of a running process of the table, None while it is down."""
        protocol = self._monitor.protocols.get(name)
        transport = protocol.transport if protocol is not None else None
        pid = getattr(transport, "pid", None)
        return int(pid) if pid else None

    def status(self) -> dict[str, Any]:
        """What `egress status` shows of the supervisor: name → pid or None."""
        return {"ready": self.ready, "processes": {p.name: self.pid(p.name) for p in self._table}}

    async def _until_ready(self, process: Process) -> None:
        path = str(self._settings.control_socket(process.name))
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            answer = await threads.deferToThread(_status, path)
            if answer.get("ready"):
                return
            await task.deferLater(self._reactor, 0.1)  # type: ignore[arg-type]  # the same
        raise TimeoutError(
            f"{process.name} is not ready after {READY_WITHIN:.0f} s; see {self._settings.log_dir}"
        )


def _names(table: tuple[Process, ...], *, inside: bool) -> tuple[str, ...]:
    return tuple(p.name for p in table if p.in_gateway_namespace is inside and p.name != SQUID)


def _status(path: str) -> ipc.Message:
    try:
        return ipc.ask(path, {"op": "status"}, timeout=2)
    except (OSError, ValueError):
        return {}


def operations(supervisor: Supervisor) -> dict[str, Operation]:
    """Answers of the supervisor's control socket; root only."""

    def status(_message: ipc.Message, _peer: Peer) -> ipc.Message:
        return supervisor.status()

    return {"status": Operation(status)}


def main() -> None:
    """Run in the foreground until SIGTERM. Settings come from $EGRESS_SETTINGS."""
    from twisted.internet import reactor  # noqa: PLC0415 - only a main installs the reactor
    from twisted.logger import globalLogBeginner, textFileLogObserver  # noqa: PLC0415 - as above

    from appliance import settings as settings_module  # noqa: PLC0415 - as above

    settings = settings_module.load()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    stop_leftovers(settings)
    environment = {
        key: os.environ[key]
        for key in ("PATH", "LANG", settings_module.SETTINGS_VARIABLE)
        if key in os.environ
    }
    supervisor = Supervisor(reactor, settings, environment)
    path = settings.control_socket(SUPERVISOR)
    path.unlink(missing_ok=True)

    reactor.listenUNIX(str(path), ControlFactory(operations(supervisor)), mode=0o600)  # type: ignore[attr-defined]  # the module is its reactor
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: defer.Deferred.fromCoroutine(supervisor.stop())
    )

    def begin() -> None:
        starting = defer.Deferred.fromCoroutine(supervisor.start())
        starting.addErrback(lambda failure: log.error("{reason}", reason=failure.getErrorMessage()))

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
