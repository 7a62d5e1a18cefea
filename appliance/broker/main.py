"""The broker process: `python -m appliance.broker.main`, started by the launcher with its control socket."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TextIO

from cryptography import x509
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.inotify import INotify
from twisted.logger import ILogObserver, Logger, globalLogBeginner, textFileLogObserver

from appliance import privilege
from appliance import reactor as prompt
from appliance import settings as configuration
from appliance.acceptor import Acceptor
from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.broker.api.control import HandleControl, WorkloadControl
from appliance.broker.api.serving import Interface
from appliance.broker.ca import CaError, open_authority
from appliance.broker.callers.serving import CallerInterface
from appliance.broker.calls.connection import CallConnection, Handed
from appliance.broker.calls.platform_requests import PlatformRequests
from appliance.broker.calls.serving import Calls
from appliance.broker.calls.slot_sessions import SlotSessions
from appliance.broker.calls.withdrawing import Withdrawing
from appliance.broker.database import DatabaseError
from appliance.broker.database_threads import DatabaseThreads
from appliance.broker.identities import Identities, open_identities
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.identity.external_ca import ExternalCa
from appliance.broker.identity.external_enrolment import ExternalEnrolment, read_roots
from appliance.broker.identity.verification import Trust
from appliance.broker.records import ScrubbedLog
from appliance.broker.scrub.observer import ScrubbingObserver
from appliance.broker.scrub.scrubber import Scrubber
from appliance.broker.signing import Signing
from appliance.broker.vault.control import VaultControl
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.keyring import UNLOCK, State
from appliance.broker.vault.opening import change_key_file, open_vault
from appliance.broker.vault.vault import Vault
from appliance.control import ControlFactory, Operation
from appliance.endpoints import EndpointFeed
from appliance.handover import Attestation
from appliance.http1.head import RequestHead
from appliance.inherited import InheritanceError, inherited_sockets
from appliance.policy.control import reload_operation
from appliance.policy.reloads import Reloads
from appliance.policy.store import PolicyStore
from appliance.policy.tenant import TenantPolicy
from appliance.policy.watch import PolicyWatch
from appliance.readiness import report_readiness
from appliance.tls.upstream import TrustStoreError

PROCESS = "broker"

_log = Logger()


_CANNOT_START = (
    configuration.SettingsError, InheritanceError, CaError, AuditUnavailable, VaultError, TrustStoreError,
    DatabaseError,
)  # fmt: skip


def main() -> int:
    """Run until SIGTERM. Exit status 1 and one message on standard error when it cannot start."""
    privilege.forbid_dumps()
    try:
        _run()
    except _CANNOT_START as error:
        sys.stderr.write(f"egress-broker: {error}\n")
        return 1
    return 0


def log_observer(stream: TextIO) -> ILogObserver:
    """Lines of text without what looks like a credential: an error may quote what it stumbled over."""
    return ScrubbingObserver(textFileLogObserver(stream), Scrubber().octets)


def _run() -> None:
    settings = configuration.load()
    sockets = inherited_sockets("control", "calls", "dials", "workloads", "callers")
    sink = Sink(settings.audit_dir, PROCESS)
    audit = ScrubbedLog(sink)
    authority = open_authority(settings.ca_dir, settings.instance, _now())
    vault = open_vault(settings)
    identities = open_identities(settings.vault_url, authority, _now, _external_roots(settings))
    globalLogBeginner.beginLoggingTo([log_observer(sys.stderr)], redirectStandardIO=False)

    prompt.install()
    from twisted.internet import reactor  # noqa: PLC0415 - only a main may import it

    signing = Signing(authority, audit, _now)
    in_thread = DatabaseThreads(reactor)
    uids = settings.uids
    signers = frozenset({uids.gateway, uids.squid} if settings.has_fallback else {uids.gateway})
    calling = Calling(
        reactor, settings, sockets, vault, identities=identities, audit=audit, in_thread=in_thread
    )
    operations = {
        **signing.operations(signers),
        **_of_the_vault(vault, audit, settings, calling.withdrawing, in_thread),
        **calling.operations(),
    }
    acceptor = Acceptor(
        reactor,  # type: ignore[arg-type]  # the module stands for the installed reactor
        sockets["control"],
        ControlFactory(operations),
    )
    audit.write(LifecycleRecord(event="started"))
    # As in the gateway: what is loaded by now stays. No full collection, which calls wait for, looks at it.
    gc.collect()
    gc.freeze()
    in_thread.start()
    calling.start()
    report_readiness(reactor, lambda: sink.ready)
    reactor.addSystemEventTrigger("before", "shutdown", calling.stop)
    reactor.addSystemEventTrigger("during", "shutdown", in_thread.stop)
    reactor.addSystemEventTrigger("after", "shutdown", vault.close)
    reactor.addSystemEventTrigger("after", "shutdown", identities.close)
    reactor.addSystemEventTrigger("before", "shutdown", acceptor.close)
    reactor.run()
    audit.write(LifecycleRecord(event="stopped"))
    sink.close()


class Calling:
    """Calls to providers: the sockets they come by, and what has to be known to decide about them."""

    def __init__(
        self, reactor: Any, settings: configuration.Settings, sockets: Mapping[str, socket.socket],
        vault: Vault, *, identities: Identities, audit: AuditLog, in_thread: DatabaseThreads,
    ) -> None:  # fmt: skip
        """Raises `TrustStoreError`, `SettingsError`."""
        store = PolicyStore(settings)
        self._reloads = Reloads(store, reactor)
        self._watch = PolicyWatch(
            self._reloads,
            settings,
            reactor,
            lambda: INotify(reactor),  # type: ignore[no-untyped-call]  # Twisted
        )
        netd = UNIXClientEndpoint(reactor, str(settings.control_socket("netd")))  # type: ignore[no-untyped-call]  # Twisted
        self._feed = EndpointFeed(netd, reactor)
        policy = partial(_policy, store)
        listed = settings.workload_addresses
        addresses = None if listed is None else AddressAllowlist(listed)
        self._calls = Calls(
            reactor, settings, vault,
            policy=policy,
            endpoints=self._feed.table,
            audit=audit, in_thread=in_thread, now=_now,
            is_session=SlotSessions(identities, in_thread, _now, addresses).is_session,
            own=self._begin_own, expel=partial(_expel, identities, in_thread),
        )  # fmt: skip
        self.withdrawing = self._calls.withdrawing
        store.listen(self.withdrawing.policies_changed)
        self._workloads = WorkloadControl(
            identities, self._feed.table, self.withdrawing.workload_disabled, audit,
            in_thread=in_thread, now=_now,
        )  # fmt: skip
        self._interface = Interface(
            reactor, settings.uids.gateway, identities, self._feed, self._calls,
            policy=policy, audit=audit, in_thread=in_thread, now=_now, addresses=addresses,
            external=_external(reactor, settings, identities, PlatformRequests(self._calls, policy)),
        )  # fmt: skip
        self._callers = CallerInterface(
            reactor, settings.callers, identities.engine, self._calls,
            policy=policy, audit=audit, in_thread=in_thread, now=_now,
        )  # fmt: skip
        self._feed.on_removed(self._calls.departed)
        self._feed.on_removed(self._interface.departed)
        self._acceptors = [
            Acceptor(reactor, sockets["calls"], self._calls.connections),
            Acceptor(reactor, sockets["dials"], self._calls.dials),
            Acceptor(reactor, sockets["workloads"], self._interface.connections),
            Acceptor(reactor, sockets["callers"], self._callers.connections),
        ]

    def start(self) -> None:
        """Learn who is there and what holds; calls that come before are refused."""
        self._watch.start()
        self._feed.start()
        self._interface.start()
        self._callers.start()
        self._calls.start()

    def operations(self) -> Mapping[str, Operation]:
        """What the operator may ask about them."""
        return {
            **HandleControl(self._calls.handles).operations(),
            **self._workloads.operations(),
            **self._callers.operations(),
            "reload": reload_operation(self._reloads),
        }

    def _begin_own(self, connection: CallConnection, attestation: Attestation, head: RequestHead) -> Handed:
        return self._interface.enrolments.begin(connection, attestation, head)

    def stop(self) -> None:
        """No call is begun any more, and none goes on."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._watch.stop()
        self._interface.stop()
        self._callers.stop()
        self._feed.stop()
        self._calls.stop()


def _external_roots(settings: configuration.Settings) -> tuple[x509.Certificate, ...]:
    """Of the operator's own CA for workloads, if there is one. Raises `SettingsError`."""
    ca = settings.enrolment.external_ca
    return () if ca is None else read_roots(ca.trust)


def _external(
    reactor: Any, settings: configuration.Settings, identities: Identities, requests: PlatformRequests
) -> ExternalEnrolment | None:
    ca = settings.enrolment.external_ca
    if ca is None:
        return None
    trust = Trust(settings.instance, identities.external_roots)
    signing = ExternalCa(ca.url, trust, requests.post, reactor, _now, timeout=ca.timeout)
    return ExternalEnrolment(signing, identities.workloads, settings.instance, _now)


def _policy(store: PolicyStore, tenant: str) -> TenantPolicy:
    """The one in force now: a reload exchanges all of them."""
    return store.current.for_tenant(tenant)


async def _expel(
    identities: Identities, in_thread: DatabaseThreads, tenant: str, endpoint: str, container: str
) -> None:
    await in_thread(identities.expel, tenant, endpoint, container, _now())


def _of_the_vault(
    vault: Vault,
    audit: AuditLog,
    settings: configuration.Settings,
    withdrawing: Withdrawing,
    in_thread: DatabaseThreads,
) -> Mapping[str, Operation]:
    """What the operator may do with the vault; a locked one is said to be so."""
    if vault.keyring.state() is not State.OPEN:
        _log.warn("{unlock}", unlock=UNLOCK)
    change = partial(change_key_file, vault.keyring, settings.vault_key_file)
    by_file = settings.vault.unlock == "key_file"
    control = VaultControl(
        vault, audit, in_thread, _now, change if by_file else None, withdrawing=withdrawing
    )
    return control.operations()


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
