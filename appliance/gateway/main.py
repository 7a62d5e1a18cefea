"""A gateway worker: `python -m appliance.gateway.main --worker N`, started by the launcher with its sockets.

It accepts nothing before it knows who is who (netd's feed), has policies and can sign (the broker's
intermediate). Until then connections wait in the kernel's accept queue: a restart stays invisible.
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.inotify import INotify
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from appliance import privilege
from appliance import reactor as prompt
from appliance import settings as configuration
from appliance.acceptor import Acceptor
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.control import ControlFactory, Operation, Peer
from appliance.endpoints import EndpointFeed
from appliance.gateway.connection import Connections
from appliance.gateway.dials import Dials
from appliance.gateway.handing_over import Broker
from appliance.gateway.limits import DEFAULT_LIMITS
from appliance.gateway.uplink_proxy import way_of
from appliance.gateway.usage import usage
from appliance.gateway.worker import Neighbours, Worker
from appliance.inherited import InheritanceError, inherited_sockets
from appliance.ipc import Message
from appliance.limits.store import LedgerFiles, LedgerUnavailable
from appliance.policy.control import reload_operation
from appliance.policy.reloads import Reloads
from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.policy.watch import PolicyWatch
from appliance.readiness import report_readiness
from appliance.resolver.client import ResolverClient
from appliance.tls.intermediate import Intermediate, Renewal, request_intermediate
from appliance.tls.leaf import LeafCache
from appliance.tls.upstream import TrustStoreError, UpstreamTrust

READY_CHECK_SECONDS = 0.05
ANSWER_SECONDS = 0.1  # for the answer to `drain` to leave before the process begins to stop
_log = Logger()


class GatewayProcess:
    """Wires a `Worker` to its neighbours, and lives from start to drained."""

    def __init__(self, number: int, settings: configuration.Settings, reactor: Any) -> None:
        """Raises what `_CANNOT_START` lists."""
        sockets = inherited_sockets("tenants", "control")
        self._reactor = reactor
        self._number = number
        self._tenants: socket.socket = sockets["tenants"]
        self._port: Any = None
        self._root_pem = b""
        self._leaves = LeafCache()
        self._audit = Sink(settings.audit_dir, f"gateway-{number}")
        self._policies = PolicyStore(settings)
        self._reloads = Reloads(self._policies, reactor)
        self._watch = PolicyWatch(self._reloads, settings, reactor, lambda: INotify(reactor))  # type: ignore[no-untyped-call]  # Twisted
        self._feed = EndpointFeed(_control(reactor, settings, "netd"), reactor)
        self._resolver = ResolverClient(_control(reactor, settings, "resolver"), reactor)
        broker = _control(reactor, settings, "broker")
        self._renewal = Renewal(
            reactor, lambda: request_intermediate(broker, reactor), self._intermediate_installed
        )
        ledgers = LedgerFiles(settings.limits_dir, number, settings.workers)
        ledgers.begin()
        self.worker = Worker(
            Neighbours(
                reactor=reactor,
                endpoints=self._feed.table,
                policies=lambda: self._policies.current,
                resolver=self._resolver,
                broker=Broker(
                    reactor,
                    str(settings.calls_socket),
                    number,
                    DEFAULT_LIMITS,
                    workloads=str(settings.workloads_socket),
                ),
                audit=self._audit,
                leaves=self._leaves,
                upstream_tls=UpstreamTrust(settings.upstream_ca),
                root_pem=lambda: self._root_pem,
                way=way_of(settings.uplink),
                ledger=ledgers.ledger,
            ),
            DEFAULT_LIMITS,
        )
        self._dials = Dials(self.worker, number, _unix(reactor, settings.dials_socket))
        self._control = Acceptor(
            reactor,
            sockets["control"],
            ControlFactory(
                {
                    "status": Operation(self._status),
                    "drain": Operation(self._begin_drain),
                    "usage": Operation(lambda _message, _peer: usage(self.worker)),
                    "reload": reload_operation(self._reloads),
                }
            ),
        )

    def start(self) -> None:
        """Reach for the neighbours; accepting begins when all have answered."""
        self._audit.write(LifecycleRecord(event="started"))
        self._policies.listen(self._policies_changed)
        self._feed.on_removed(self.worker.endpoint_removed)
        self._feed.on_stray(self._strayed)
        self._watch.start()
        self._feed.start()
        self._resolver.start()
        self._dials.start()
        self._renewal.start()
        self.worker.deadlines.start()
        self._accept_when_ready()

    def stop(self) -> Deferred[None]:
        """Stop accepting, let requests under way finish for at most `drain_seconds`, then let go of all."""
        if self._port is not None:
            self._port.stopListening()
        self._tenants.close()
        drained = self.worker.drain()
        late = self._reactor.callLater(self.worker.limits.drain_seconds, self.worker.end_all)
        drained.addCallback(lambda _: self._let_go(late))
        return drained

    def _strayed(self) -> None:
        """No packet of the connections that are open comes through any more: nothing to drain."""
        self.worker.end_all()
        self._reactor.stop()

    def _let_go(self, late: Any) -> None:
        if late.active():
            late.cancel()
        self.worker.deadlines.stop()
        self._renewal.stop()
        self._watch.stop()
        self._feed.stop()
        self._resolver.stop()
        self._dials.stop()
        self._control.close()
        self.worker.telling.close()
        try:
            self._audit.write(LifecycleRecord(event="stopped"))
        except AuditUnavailable:
            _log.warn("the end of this process could not be recorded")
        self._audit.close()

    @property
    def ready(self) -> bool:
        """Whether requests can be judged, dialled, intercepted and recorded now."""
        return self._feed.ready and self._leaves.ready and self._audit.ready

    @property
    def accepts(self) -> bool:
        """Whether containers are answered now."""
        return self._port is not None and self.ready

    def _accept_when_ready(self) -> None:
        if self._tenants.fileno() < 0:
            return
        if not self.ready:
            self._reactor.callLater(READY_CHECK_SECONDS, self._accept_when_ready)
            return
        self._port = self._reactor.adoptStreamPort(
            self._tenants.fileno(), socket.AF_INET, Connections(self.worker)
        )
        _log.info("worker {number} accepts", number=self._number)

    def _intermediate_installed(self, intermediate: Intermediate) -> None:
        self._root_pem = intermediate.root.public_bytes(Encoding.PEM)
        self._leaves.install(intermediate)

    def _policies_changed(self, new: PolicySet) -> None:
        self.worker.policy_changed()
        try:
            self._audit.write(LifecycleRecord(event="policy-reloaded", subject=new.generation))
        except AuditUnavailable:
            _log.warn("a change of policy could not be recorded")

    def _status(self, message: Message, peer: Peer) -> Message:
        del message, peer
        error = self._policies.last_error
        return {
            "ready": self.accepts,
            "worker": self._number,
            "connections": self.worker.connections,
            "requests": self.worker.requests,
            "policy": self._policies.current.generation,
            "policy_error": None if error is None else str(error),
            "endpoints": len(self._feed.table),
            "netd": self._feed.connected,
            "intermediate": self._leaves.ready,
            "audit": self._audit.ready,
        }

    def _begin_drain(self, message: Message, peer: Peer) -> Message:
        del message, peer
        self._reactor.callLater(ANSWER_SECONDS, self._reactor.stop)
        return {"draining": self.worker.connections}


def _control(reactor: Any, settings: configuration.Settings, process: str) -> UNIXClientEndpoint:
    return _unix(reactor, settings.control_socket(process))


def _unix(reactor: Any, path: Path) -> UNIXClientEndpoint:
    return UNIXClientEndpoint(reactor, str(path))  # type: ignore[no-untyped-call]  # Twisted


_CANNOT_START = (
    configuration.SettingsError, InheritanceError, AuditUnavailable, TrustStoreError, LedgerUnavailable,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM. Exit status 1 and one message on standard error when it cannot start."""
    privilege.forbid_dumps()
    parser = argparse.ArgumentParser(prog="egress-gateway")
    parser.add_argument("--worker", type=int, required=True, help="number of this worker, from 0")
    number = parser.parse_args(arguments).worker
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)

    prompt.install()
    from twisted.internet import reactor  # noqa: PLC0415 - only a main may import it

    try:
        process = GatewayProcess(number, configuration.load(), reactor)
        process.start()
    except _CANNOT_START as error:
        sys.stderr.write(f"egress-gateway: {error}\n")
        return 1
    # What is loaded by now stays, so no full collection looks at it. One took 18 ms, with 10,000 rules 42 ms.
    # Not after each reload: connections that are open then would be kept for good where they are in cycles.
    gc.collect()
    gc.freeze()
    report_readiness(reactor, lambda: process.accepts)
    # Twisted ends on SIGTERM and waits for what this returns.
    reactor.addSystemEventTrigger("before", "shutdown", process.stop)
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
