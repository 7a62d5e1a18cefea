"""`egress-netd`: keeps the gateway namespace as it should be and serves the Docker plugin socket.

`python -m netns.main` runs until SIGTERM; `python -m netns.main --teardown` removes the instance and exits.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from twisted.internet import defer, task, threads
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from twisted.python.threadpool import ThreadPool

from appliance import privilege
from appliance import settings as settings_module
from appliance.acceptor import Acceptor
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.inherited import inherited_sockets
from appliance.ipc import Message
from appliance.policy.loader import load_operator_exceptions
from appliance.processes import SQUID, Listener, SocketKind, worker_names
from appliance.readiness import report_readiness
from appliance.resolver.nameservers import NoNameServer, upstream_servers
from appliance.settings import Settings
from netns import hostrules, namespaces
from netns.acquaintance import Acquaintance
from netns.daemon import Daemon, Exceptions
from netns.driver.ending import stop_container
from netns.driver.service import Plugin, known_endpoints, plugin
from netns.fallback import Fallback, Watched
from netns.fallback_mode import NOTHING_SAID, ModeFile
from netns.feed import Attendance, Feed, FeedFactory, Role
from netns.kept_networks import NetworksFile
from netns.kernel import Kernel
from netns.listening import open_listener
from netns.naming import uplink_peer
from netns.notices import Notice
from netns.plumbing import PlumbingError
from netns.pulse import Pulse
from netns.shares import at_start
from netns.teardown import teardown
from netns.watch import DOCKER_USER_TABLE, KernelWatch
from netns.wiring import KernelPlumbing, in_pool

SETTLING = 30.0
"""Seconds after our start in which a container that Docker is starting has come to run."""

PROCESS = "netd"
EXIT_CONFIG = 78  # sysexits.h: the mend is in the message

_log = Logger()


def name_servers(settings: Settings) -> tuple[tuple[IPv4Address, int], ...]:
    """The resolver's upstreams as the kernel's rules need them; none when there is nobody to ask."""
    try:
        return tuple((server.address, server.port) for server in upstream_servers(settings.resolver))
    except NoNameServer as error:
        _log.warn("no name server is let through: {error}", error=str(error))
        return ()


def exceptions(settings: Settings) -> Exceptions:
    """The operator's exceptions of all tenants; which tenant may use one is the gateway's to judge."""
    return load_operator_exceptions(settings)


def _watch(reactor: Any, settings: Settings, kernel: Kernel) -> KernelWatch:
    """Where we listen to the kernel; the host's tables only where the uplink ends in its namespace."""
    outside = settings.uplink.peer_namespace
    tables = frozenset({hostrules.table_name(settings.instance), DOCKER_USER_TABLE})
    return KernelWatch(
        reactor,
        settings.namespace,
        outside,
        uplink_peer(settings.instance),
        tables if outside is None else frozenset(),
        expected=kernel.own.expects,
    )


class Netd:
    """The parts of netd, wired."""

    def __init__(self, reactor: Any, settings: Settings) -> None:
        """Raises `AuditUnavailable`."""
        self._audit = Sink(settings.audit_dir, PROCESS)
        self._reactor = reactor
        self._settings = settings
        self._pool = ThreadPool(1, 1, name="kernel")
        run = in_pool(reactor, self._pool)
        uids = settings.uids
        self._mode_file = ModeFile(settings.run_dir)
        self._kept = self._mode_file.read() if settings.has_fallback else NOTHING_SAID
        self._kernel = Kernel(
            settings, lambda: name_servers(settings), at_start(self._kept.mode, settings.workers)
        )
        self._plugin: Plugin
        self._answers_docker = False
        self._feed = Feed(
            reactor,
            {
                "gateway worker": Role(uids.gateway, settings.workers),
                "resolver": Role(uids.resolver),
                "broker": Role(uids.broker, 0),
                **({SQUID: Role(uids.squid, 0)} if settings.has_fallback else {}),
            },
            known=Acquaintance(settings).knows,
            namespace=lambda: namespaces.identity(settings.namespace),
            attended=self._attended,
        )
        self._plumbing = KernelPlumbing(
            self._kernel, self._feed, run, self._doubt, NetworksFile(settings.state_dir)
        )

        async def read_exceptions() -> Exceptions:
            found: Exceptions = await threads.deferToThread(exceptions, settings)
            return found

        async def tear_down() -> None:
            if self._fallback is not None:
                self._fallback.stop()
            await run(teardown, settings)
            reactor.callLater(0.2, reactor.stop)  # after the answer is written

        async def counters() -> Mapping[str, tuple[int, int]]:
            found: Mapping[str, tuple[int, int]] = await run(self._kernel.counters)
            return found

        self._daemon = Daemon(
            reactor,
            self._plumbing,
            self._feed,
            read_exceptions,
            tear_down,
            watch=_watch(reactor, settings, self._kernel),
            repaired=lambda repair: self._note(repair.record()),
            further=self._fallback_status,
        )
        self._operations = self._daemon.operations(counters)
        self._fallback = self._make_fallback() if settings.has_fallback else None
        if self._fallback is not None:
            self._operations |= self._fallback.operations()

    async def start(self, control: socket.socket) -> None:
        """Bring everything up in order. Raises `PlumbingError`."""
        self._pool.start()
        self._reactor.addSystemEventTrigger("during", "shutdown", self.stop)
        await self._daemon.start()
        uids = self._settings.uids
        subscribers = {uids.gateway, uids.resolver, uids.broker} | (
            {uids.squid} if self._fallback is not None else set()
        )
        self._plugin = plugin(self._plumbing, self._settings, self._reactor, self._audit)
        self._operations["stop-container"] = stop_container(
            self._plumbing.attachments, self._plugin.stop, uids.broker
        )
        factory = FeedFactory(self._feed, self._operations, frozenset(subscribers))
        Acceptor(self._reactor, control, factory)
        self._serve_docker()
        self._note(LifecycleRecord(event="started"))
        if self._fallback is not None:
            self._fallback.start()
        self._answers_docker = True

    @property
    def ready(self) -> bool:
        """Whether the rules stand, and Docker may start containers."""
        return self._answers_docker and self._daemon.ready

    def stop(self) -> None:
        """Stop comparing; links and rules stay, so containers keep their network."""
        if self._fallback is not None:
            self._fallback.stop()
        self._daemon.stop()
        self._pool.callInThread(self._kernel.close)
        self._pool.stop()
        self._note(LifecycleRecord(event="stopped"))
        self._audit.close()

    def reload(self, *_signal: Any) -> None:
        """SIGHUP: the exceptions again, and a comparison."""
        self._reactor.callFromThread(
            lambda: defer.ensureDeferred(self._daemon.reload()).addErrback(
                lambda failure: _log.failure("reload failed", failure=failure)
            )
        )

    def _doubt(self, notice: Notice) -> None:
        self._daemon.heard(notice)

    def _make_fallback(self) -> Fallback:
        def watched(process: str) -> Watched:
            control = UNIXClientEndpoint(self._reactor, str(self._settings.control_socket(process)))  # type: ignore[no-untyped-call]  # Twisted
            return lambda told: Pulse(self._reactor, control, told)

        return Fallback(
            self._reactor,
            {name: watched(name) for name in worker_names(self._settings)},
            watched(SQUID),
            self._plumbing.steer,
            self._note,
            kept=self._kept,
            keep=self._mode_file.keep,
        )

    def _fallback_status(self) -> Message:
        if self._fallback is None:
            return {"fallback": "none: nothing passes while the gateway is away"}
        return self._fallback.status()

    def _attended(self, attendance: Attendance) -> None:
        if self._daemon.ready:  # at our own end everybody is disconnected
            self._note(attendance.record())

    def _note(self, record: LifecycleRecord) -> None:
        try:
            self._audit.write(record)
        except AuditUnavailable as error:
            _log.error("{event} not recorded: {error}", event=record.event, error=str(error))

    def _serve_docker(self) -> None:
        path = self._settings.plugin_socket
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = open_listener(Listener("plugin", SocketKind.UNIX, path=path, mode=0o600), 0)
        Acceptor(self._reactor, socket.socket(fileno=descriptor), self._plugin.site)
        defer.ensureDeferred(self._remove_stale()).addErrback(
            lambda failure: _log.failure("stale endpoints were not removed", failure=failure)
        )

    async def _remove_stale(self) -> None:
        """Remove links that an earlier netd made for containers that Docker did not start after all.

        Not at once: Docker may be starting one of them, and lists it only when it runs. With the admission
        plugin on, dockerd also asks us before it answers us, so the plugin socket must be served by now.
        """
        await task.deferLater(self._reactor, SETTLING)
        known = await known_endpoints(self._plumbing, self._settings, self._reactor)
        if known is None:
            return
        for endpoint in await self._plumbing.remove_stale(self._daemon.found, known):
            _log.warn("removed endpoint {endpoint}: Docker does not know it", endpoint=endpoint)


def main() -> None:
    """Run, or remove the instance. Settings come from $EGRESS_SETTINGS."""
    privilege.forbid_dumps()
    try:
        settings = settings_module.load()
        if sys.argv[1:] == ["--teardown"]:
            teardown(settings)
            return
    except (settings_module.SettingsError, PlumbingError) as error:
        sys.stderr.write(f"egress-netd: {error}\n")
        raise SystemExit(EXIT_CONFIG) from error
    if sys.argv[1:]:
        sys.stderr.write(f"egress-netd: unknown argument {sys.argv[1]!r}; there is only --teardown\n")
        raise SystemExit(EXIT_CONFIG)
    _serve(settings)


def _serve(settings: Settings) -> None:
    from twisted.internet import reactor  # noqa: PLC0415 - only a main installs the reactor

    the_reactor: Any = reactor
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    control = inherited_sockets().get("control")
    if control is None:
        sys.stderr.write("egress-netd: start it by: python -m netns.launch netd\n")
        raise SystemExit(EXIT_CONFIG)
    try:
        netd = Netd(the_reactor, settings)
    except AuditUnavailable as error:
        sys.stderr.write(f"egress-netd: {error}\n")
        raise SystemExit(EXIT_CONFIG) from error
    failed: list[str] = []

    def give_up(failure: Any) -> None:
        failed.append(failure.getErrorMessage())
        _log.failure("cannot start", failure=failure)
        the_reactor.stop()

    def begin() -> None:
        defer.ensureDeferred(netd.start(control)).addErrback(give_up)

    the_reactor.callWhenRunning(begin)
    signal.signal(signal.SIGHUP, netd.reload)
    report_readiness(the_reactor, lambda: netd.ready)
    the_reactor.run()
    if failed:
        sys.stderr.write(f"egress-netd: {failed[0]}\n")
        raise SystemExit(EXIT_CONFIG)


if __name__ == "__main__":
    main()
