"""Keeps Squid running as policy, containers and the signing certificate say; says whether it could serve now.

Nothing is asked of Squid while something is missing: no certificate, no list of containers, no room for audit
records, and it does not run, so that whoever is steered to it finds nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.control import Operation, Peer
from appliance.endpoints import EndpointFeed
from appliance.ipc import Message
from appliance.policy.set import PolicySet
from appliance.processes import HEARTBEAT_PORT
from appliance.tls.intermediate import Intermediate
from squid import accesslog, files
from squid.child import SquidChild, is_listening
from squid.files import NotUsable
from squid.heartbeat import Heartbeat
from squid.model import fallback_of
from squid.render import Place, Unrenderable, render

EVERY = 0.25
"""Seconds between two looks at what changed."""

PAUSE = 1.0
"""Seconds before a Squid that ended, or that could not be given its files, is tried again."""

SILENT = "Squid did not answer and is started anew"

_log = Logger()


class Supervision:
    """One Squid and its files. `own` are the appliance's links, which nobody may reach.

    Its rules are for networks, not for containers, so that it need not read them again for each container:
    the kernel lets nobody through to it but a known link with its own address.
    """

    def __init__(
        self,
        reactor: Any,
        place: Place,
        feed: EndpointFeed,
        policies: Callable[[], PolicySet],
        audit: AuditLog,
        *,
        own: tuple[IPv4Network, ...],
    ) -> None:
        self._reactor, self._place, self._feed = reactor, place, feed
        self._policies, self._audit, self._own = policies, audit, own
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._loop.clock = reactor
        squid = TCP4ClientEndpoint(reactor, "127.0.0.1", HEARTBEAT_PORT, timeout=30)
        self._heartbeat = Heartbeat(squid, self._hangs)
        self._intermediate: Intermediate | None = None
        self._signed: Intermediate | None = None
        self._child: SquidChild | None = None
        self._begun = False
        self._text = ""
        self._rendered: tuple[object, str] | None = None
        self._not_before = 0.0
        self.problem = ""

    def start(self) -> None:
        """Begin to look. Raises `NotUsable`."""
        files.prepare(self._place)
        self._loop.start(EVERY).addErrback(lambda failure: _log.failure("the look ended", failure=failure))

    def stop(self) -> Deferred[None]:
        """Stop Squid and look no more."""
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._end())

    def sign_with(self, intermediate: Intermediate) -> None:
        """Use this certificate from the next look on."""
        self._intermediate = intermediate

    @property
    def ready(self) -> bool:
        """Whether Squid would serve now, and by the policy that is in force."""
        return (
            self._running and self._feed.ready and self._audit.ready and not self.problem and self._has_begun
            and not self._heartbeat.silent
        )  # fmt: skip

    def status(self, _message: Message, _peer: Peer) -> Message:
        """What `egress status` shows."""
        return {
            "ready": self.ready,
            "policy": self._policies().generation,
            "endpoints": len(self._feed.table),
            "certificate": self._signed is not None,
            "audit": self._audit.ready,
            "problem": self.problem or (SILENT if self._heartbeat.silent else ""),
        }

    def root_pem(self) -> bytes:
        """The root that intercepted callers must trust, empty while Squid has no certificate of it."""
        return b"" if self._signed is None else self._signed.root.public_bytes(Encoding.PEM)

    def operations(self) -> dict[str, Operation]:
        """The control socket's table."""
        return {"status": Operation(self.status)}

    async def look(self) -> None:
        """One look: bring Squid to what is wanted, or stop it when something is missing."""
        intermediate = self._intermediate
        if intermediate is None or not self._feed.ready or not self._audit.ready:
            await self._end()
            return
        if self._reactor.seconds() < self._not_before:
            return
        try:
            await self._bring(intermediate, self._wanted())
        except (NotUsable, Unrenderable) as error:
            if str(error) != self.problem:
                _log.error("no configuration for what is in force: {error}", error=str(error))
            await self._fail(str(error))
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - raised out of here it would end the looks, and rules would grow old
            _log.failure("a look failed")
            await self._fail("a look failed; see the log of squid.main")
        else:
            self.problem = ""

    async def _fail(self, problem: str) -> None:
        """By rules that are not those in force it does not serve: it may allow what a policy now denies."""
        self.problem = problem
        self._not_before = self._reactor.seconds() + PAUSE
        await self._end()

    def _wanted(self) -> str:
        """The text for what is in force now. Raises `Unrenderable`."""
        policies, pools = self._policies(), self._feed.pools
        known = self._rendered
        if known is None or known[0] != (policies.generation, pools):
            text = render(fallback_of(policies, pools, self._own), self._place)
            known = self._rendered = ((policies.generation, pools), text)
        return known[1]

    async def _bring(self, intermediate: Intermediate, text: str) -> None:
        if intermediate is not self._signed:
            await self._end()
            await deferToThread(files.sign_with, self._place, intermediate)
            self._signed = intermediate
        running = self._running
        if text != self._text:
            if running and not self._listening:
                return  # it would die of the signal: at the next look
            await deferToThread(files.install, self._place, text)
            self._text = text
            if running and self._child is not None:
                self._child.reconfigure()
        if not running:
            self._child, self._begun = SquidChild(self._line, self._ended), False
            self._child.start(self._reactor, self._place)
            self._heartbeat.begin()
        elif self._has_begun:
            self._heartbeat.look()

    @property
    def _running(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def _has_begun(self) -> bool:
        """Whether this run has ever listened: the kernel's table is long when connections are many."""
        self._begun = self._begun or self._listening
        return self._begun

    @property
    def _listening(self) -> bool:
        """Whether Squid has come so far that it takes signals."""
        return is_listening((self._place.port,))

    async def _end(self) -> None:
        self._heartbeat.stop()
        if self._child is not None:
            await self._child.stop()
            self._child = None

    def _hangs(self) -> None:
        """It answers no more. Who was steered to it gets nothing, and nothing passes, until another runs."""
        _log.error("{detail}", detail=SILENT)
        try:
            self._audit.write(LifecycleRecord(event="fallback-silent", subject="squid", detail=SILENT))
        except AuditUnavailable as error:
            _log.error("that Squid hung is not recorded: {error}", error=str(error))
        if self._child is not None:
            self._child.stop()

    def _ended(self) -> None:
        self._not_before = self._reactor.seconds() + PAUSE

    def _line(self, text: str) -> None:
        line = accesslog.parse(text)
        if line is None:
            _log.warn("a line of squid that is no record: {text}", text=text[:200])
            return
        endpoint = next((e for e in self._feed.table if str(e.address) == line.source), None)
        record = accesslog.record_of(line, endpoint, uuid4())
        if record is None:
            return
        try:
            self._audit.write(record)
        except AuditUnavailable as error:
            _log.error("a request of the fallback is not recorded: {error}", error=str(error))
