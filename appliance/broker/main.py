"""The broker process: `python -m appliance.broker.main`, started by the launcher with its control socket."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from twisted.logger import globalLogBeginner, textFileLogObserver

from appliance import privilege
from appliance import settings as configuration
from appliance.acceptor import Acceptor
from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.audit.sink import Sink
from appliance.broker.ca import CaError, open_authority
from appliance.broker.signing import Signing
from appliance.control import ControlFactory
from appliance.inherited import InheritanceError, inherited_sockets

PROCESS = "broker"


def main() -> int:
    """Run until SIGTERM. Exit status 1 and one message on standard error when it cannot start."""
    privilege.forbid_dumps()
    try:
        _run()
    except (configuration.SettingsError, InheritanceError, CaError, AuditUnavailable) as error:
        sys.stderr.write(f"egress-broker: {error}\n")
        return 1
    return 0


def _run() -> None:
    settings = configuration.load()
    listening = inherited_sockets("control")["control"]
    sink = Sink(settings.audit_dir, PROCESS)
    authority = open_authority(settings.ca_dir, settings.instance, _now())
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)

    from twisted.internet import reactor  # noqa: PLC0415 - only a main may import it

    signing = Signing(authority, sink, _now)
    uids = settings.uids
    signers = frozenset({uids.gateway, uids.squid} if settings.has_fallback else {uids.gateway})
    acceptor = Acceptor(
        reactor,  # type: ignore[arg-type]  # the module stands for the installed reactor
        listening,
        ControlFactory(signing.operations(signers)),
    )
    sink.write(LifecycleRecord(event="started"))
    reactor.addSystemEventTrigger("before", "shutdown", acceptor.close)
    reactor.run()
    sink.write(LifecycleRecord(event="stopped"))
    sink.close()


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
