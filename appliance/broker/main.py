"""The broker process: `python -m appliance.broker.main`, started by the launcher with its control socket."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from twisted.internet.threads import deferToThread
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver

from appliance import privilege
from appliance import settings as configuration
from appliance.acceptor import Acceptor
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.broker.ca import CaError, open_authority
from appliance.broker.signing import Signing
from appliance.broker.vault.control import VaultControl
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.keyring import UNLOCK, State
from appliance.broker.vault.opening import open_vault
from appliance.broker.vault.vault import Vault
from appliance.control import ControlFactory, Operation
from appliance.inherited import InheritanceError, inherited_sockets

PROCESS = "broker"

_log = Logger()


def main() -> int:
    """Run until SIGTERM. Exit status 1 and one message on standard error when it cannot start."""
    privilege.forbid_dumps()
    try:
        _run()
    except (configuration.SettingsError, InheritanceError, CaError, AuditUnavailable, VaultError) as error:
        sys.stderr.write(f"egress-broker: {error}\n")
        return 1
    return 0


def _run() -> None:
    settings = configuration.load()
    listening = inherited_sockets("control")["control"]
    sink = Sink(settings.audit_dir, PROCESS)
    authority = open_authority(settings.ca_dir, settings.instance, _now())
    vault = open_vault(settings)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)

    from twisted.internet import reactor  # noqa: PLC0415 - only a main may import it

    signing = Signing(authority, sink, _now)
    uids = settings.uids
    signers = frozenset({uids.gateway, uids.squid} if settings.has_fallback else {uids.gateway})
    acceptor = Acceptor(
        reactor,  # type: ignore[arg-type]  # the module stands for the installed reactor
        listening,
        ControlFactory({**signing.operations(signers), **_of_the_vault(vault, sink)}),
    )
    sink.write(LifecycleRecord(event="started"))
    reactor.addSystemEventTrigger("after", "shutdown", vault.close)
    reactor.addSystemEventTrigger("before", "shutdown", acceptor.close)
    reactor.run()
    sink.write(LifecycleRecord(event="stopped"))
    sink.close()


def _of_the_vault(vault: Vault, sink: Sink) -> Mapping[str, Operation]:
    """What the operator may do with the vault; a locked one is said to be so."""
    if vault.keyring.state() is not State.OPEN:
        _log.warn("{unlock}", unlock=UNLOCK)
    return VaultControl(vault, sink, deferToThread, _now).operations()


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
