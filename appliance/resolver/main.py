"""The resolver process: `python -m appliance.resolver.main`, started by the launcher with its sockets."""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.internet.inotify import INotify
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from appliance import privilege
from appliance import settings as configuration
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.inherited import InheritanceError, inherited_sockets
from appliance.policy.control import reload_operation
from appliance.policy.reloads import Reloads
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.policy.watch import PolicyWatch
from appliance.readiness import report_readiness
from appliance.resolver.nameservers import NoNameServer, upstream_servers
from appliance.resolver.service import LISTENERS, Resolver

PROCESS = "resolver"

_log = Logger()


def main() -> int:
    """Run until SIGTERM. Exit status 1 and one message on standard error when it cannot start."""
    privilege.forbid_dumps()
    try:
        _run()
    except (configuration.SettingsError, InheritanceError, NoNameServer, AuditUnavailable) as error:
        sys.stderr.write(f"egress-resolver: {error}\n")
        return 1
    return 0


def _run() -> None:
    settings = configuration.load()
    sockets = inherited_sockets(*LISTENERS)
    servers = upstream_servers(settings.resolver)
    sink = Sink(settings.audit_dir, PROCESS)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)

    from twisted.internet import reactor  # noqa: PLC0415 - only a main may import it

    store = PolicyStore(settings)
    reloads = Reloads(store, reactor)
    watch = PolicyWatch(reloads, settings, reactor, lambda: INotify(reactor))  # type: ignore[no-untyped-call]  # Twisted
    watch.start()
    if store.last_error is not None:
        _log.error("policy: {error}", error=str(store.last_error))
    store.listen(lambda policies: _reloaded(sink, policies))
    resolver = Resolver(reactor, settings, servers, lambda: store.current, sink)
    resolver.start(sockets, {"reload": reload_operation(reloads)})
    report_readiness(reactor, lambda: resolver.ready)
    sink.write(LifecycleRecord(event="started"))
    reactor.addSystemEventTrigger("before", "shutdown", watch.stop)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(resolver.stop()))
    reactor.run()
    sink.write(LifecycleRecord(event="stopped"))
    sink.close()


def _reloaded(sink: Sink, policies: PolicySet) -> None:
    """Write down which policy is in force from now on; without room for that, nothing is resolved anyway."""
    _log.info("policy {generation} is in force", generation=policies.generation)
    try:
        sink.write(LifecycleRecord(event="policy-reloaded", detail=f"generation {policies.generation}"))
    except AuditUnavailable as error:
        _log.error("policy-reloaded not recorded: {error}", error=str(error))


if __name__ == "__main__":
    sys.exit(main())
