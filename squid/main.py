"""The fallback proxy's process: `python -m squid.main`, started by the launcher with its control socket."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.inotify import INotify
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from appliance import privilege
from appliance import settings as configuration
from appliance.acceptor import Acceptor
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.control import ControlFactory
from appliance.endpoints import EndpointFeed
from appliance.inherited import InheritanceError, inherited_sockets
from appliance.policy.control import reload_operation
from appliance.policy.reloads import Reloads
from appliance.policy.store import PolicyStore
from appliance.policy.watch import PolicyWatch
from appliance.readiness import report_readiness
from appliance.resolver.nameservers import NoNameServer, upstream_servers
from appliance.tls.intermediate import Renewal, request_intermediate
from squid.bundle import Bundle
from squid.files import NotUsable
from squid.place import place_of
from squid.supervise import Supervision

PROCESS = "squid"

_log = Logger()


class CannotStart(Exception):
    """Something that the process needs is missing; `str()` says what, and the mend."""


def main() -> int:
    """Run until SIGTERM. Exit status 1 and one message on standard error when it cannot start."""
    privilege.forbid_dumps()
    try:
        _run()
    except (
        configuration.SettingsError, InheritanceError, NoNameServer, AuditUnavailable, NotUsable, CannotStart,
    ) as error:  # fmt: skip
        sys.stderr.write(f"egress-squid: {error}\n")
        return 1
    return 0


def _run() -> None:
    settings = configuration.load()
    sockets = inherited_sockets("control", "bundle")
    listening, bundle = sockets["control"], sockets["bundle"]
    try:
        place = place_of(settings, upstream_servers(settings.resolver))
    except ValueError as error:
        raise CannotStart(str(error)) from error
    sink = Sink(settings.audit_dir, PROCESS)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)

    from twisted.internet import reactor as installed  # noqa: PLC0415 - only a main may import it

    reactor: Any = installed

    def control(process: str) -> Any:
        return UNIXClientEndpoint(reactor, str(settings.control_socket(process)))  # type: ignore[no-untyped-call]  # Twisted

    store = PolicyStore(settings)
    reloads = Reloads(store, reactor)
    watch = PolicyWatch(reloads, settings, reactor, lambda: INotify(reactor))  # type: ignore[no-untyped-call]  # Twisted
    feed = EndpointFeed(control("netd"), reactor)
    own = (settings.uplink.address.network,)
    supervision = Supervision(reactor, place, feed, lambda: store.current, sink, own=own)
    broker = control("broker")
    renewal = Renewal(reactor, lambda: request_intermediate(broker, reactor), supervision.sign_with)
    table = {**supervision.operations(), "reload": reload_operation(reloads)}
    acceptor = Acceptor(reactor, listening, ControlFactory(table))
    port = reactor.adoptStreamPort(bundle.fileno(), socket.AF_INET, Bundle(reactor, supervision.root_pem))
    bundle.close()  # the port has its own descriptor of it
    supervision.start()
    watch.start()
    feed.start()
    renewal.start()
    feed.on_stray(reactor.stop)
    report_readiness(reactor, lambda: supervision.ready)
    sink.write(LifecycleRecord(event="started"))

    def end() -> Deferred[None]:
        acceptor.close()
        port.stopListening()
        renewal.stop()
        watch.stop()
        feed.stop()
        return supervision.stop()

    reactor.addSystemEventTrigger("before", "shutdown", end)
    reactor.run()
    sink.write(LifecycleRecord(event="stopped"))
    sink.close()


if __name__ == "__main__":
    sys.exit(main())
