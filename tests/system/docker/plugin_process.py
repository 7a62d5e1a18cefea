"""The plugin as netd serves it, with a plumbing by hand. Arguments: settings file, state file, mode.

Mode `unsealed` leaves the seal out, `unverified` the look at the first process, `unnamed` the judgement of
drivers' names: the control experiments. Mode `late` seals only when it is too late; in mode `unrecorded` the
disk is full; in mode `renaming` the containers `decoy` and `job` change names while a connect is judged, and
nobody looks at containers but after a call.
"""

from __future__ import annotations

import errno
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogBeginner, textFileLogObserver
from veth_plumbing import VethPlumbing

from appliance.audit.reserved_file import reserve_beyond_end
from appliance.audit.sink import Sink
from appliance.settings import Settings, load
from netns.driver import admission, container_watch, sandboxes, sealer, service
from netns.driver.admission import ADMITTED, Decision
from netns.driver.authz import Authorization
from netns.driver.engine_http import EngineHTTP
from netns.driver.go_json import Struct
from netns.driver.messages import AuthorizationRequest
from netns.plumbing import Attachment


async def no_seal(self: sealer.Sealer, sandbox: Path, gateway: IPv4Address) -> None:
    return None


def no_start(self: container_watch.ContainerWatch) -> None:
    return None


async def no_look(self: sandboxes.Sandboxes, attachment: Attachment, sandbox: Path) -> None:
    return None


def no_space(descriptor: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, "full")


def late_seal(sandbox: Path, gateway: IPv4Address) -> None:
    time.sleep(3)
    _seal(sandbox, gateway)


_seal = sealer.seal
_decide = Authorization.decide


def any_name(body: Struct, driver: str) -> Decision:
    return ADMITTED


def swap_names(settings: Settings) -> None:
    """While dockerd waits for our decision; renaming is a call of its API that is not judged."""

    def swap() -> None:
        engine = EngineHTTP(settings.docker.socket, 10)
        engine.ask("/containers/decoy/rename?name=away", "POST")
        engine.ask("/containers/job/rename?name=decoy", "POST")
        engine.close()

    async def decide(self: Authorization, message: AuthorizationRequest) -> Decision:
        decision = await _decide(self, message)
        if message.RequestUri.endswith("/connect"):
            await deferToThread(swap)
        return decision

    Authorization.decide = decide  # type: ignore[method-assign]
    container_watch.ContainerWatch.start = no_start  # type: ignore[method-assign]


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
    if mode == "unnamed":
        admission.decide_network = any_name
    if mode == "renaming":
        swap_names(settings)
    reserve = no_space if mode == "unrecorded" else reserve_beyond_end
    audit = Sink(settings.audit_dir, "netd", reserve=reserve)
    site = service.plugin(VethPlumbing("egw", Path(state)), settings, reactor, audit).site
    settings.plugin_socket.parent.mkdir(parents=True, exist_ok=True)
    settings.plugin_socket.unlink(missing_ok=True)
    reactor.listenUNIX(str(settings.plugin_socket), site, mode=0o600)
    reactor.run()


main()
