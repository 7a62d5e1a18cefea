"""The plugin as netd serves it, with a plumbing by hand. Arguments: settings file, state file, mode.

Mode `unsealed` leaves the seal out, `unverified` the look at the first process: the control experiments. Mode
`late` seals only when it is too late; in mode `unrecorded` the disk is full.
"""

from __future__ import annotations

import errno
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from veth_plumbing import VethPlumbing

from appliance.audit.reserved_file import reserve_beyond_end
from appliance.audit.sink import Sink
from appliance.settings import load
from netns.driver import sandboxes, sealer, service
from netns.plumbing import Attachment


async def no_seal(self: sealer.Sealer, sandbox: Path, gateway: IPv4Address) -> None:
    return None


async def no_look(self: sandboxes.Sandboxes, attachment: Attachment, sandbox: Path) -> None:
    return None


def no_space(descriptor: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, "full")


def late_seal(sandbox: Path, gateway: IPv4Address) -> None:
    time.sleep(3)
    _seal(sandbox, gateway)


_seal = sealer.seal


def main() -> None:
    settings_file, state, mode = sys.argv[1:]
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    if mode == "unsealed":
        sealer.Sealer.seal = sealer.Sealer.seal_again = no_seal  # type: ignore[method-assign]
    if mode == "late":
        sealer.seal = late_seal
    if mode == "unverified":
        sandboxes.Sandboxes._verify = no_look  # type: ignore[method-assign]
    settings = load(Path(settings_file))
    reserve = no_space if mode == "unrecorded" else reserve_beyond_end
    audit = Sink(settings.audit_dir, "netd", reserve=reserve)
    site = service.plugin(VethPlumbing("egw", Path(state)), settings, reactor, audit).site
    settings.plugin_socket.parent.mkdir(parents=True, exist_ok=True)
    settings.plugin_socket.unlink(missing_ok=True)
    reactor.listenUNIX(str(settings.plugin_socket), site, mode=0o600)
    reactor.run()


main()
