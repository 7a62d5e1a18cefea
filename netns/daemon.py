"""netd's life: start, compare again and again, reload, answer on the control socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from appliance.control import ControlError, Operation, Peer
from netns.feed import Feed
from netns.notices import Notice
from netns.pace import Pace
from netns.plumbing import PlumbingError
from netns.repairs import Repair, Repairs
from netns.wiring import KernelPlumbing

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from appliance.ipc import Message

EVERY = 5.0
"""Seconds between two comparisons of the kernel with the plan."""

RETRY = 0.5
"""Seconds until a repair that failed is tried again."""

Exceptions = tuple[tuple[IPv4Network, int], ...]
Blocking = Callable[..., Awaitable[Any]]

_log = Logger()


class Watch(Protocol):
    """See `netns.watch.KernelWatch`."""

    def start(self, heard: Callable[[Notice], None]) -> None:
        """Tell `heard` of every change from now on. Raises `OSError`."""

    def follow(self) -> None:
        """Listen in the namespaces that bear the names now. Raises `OSError`."""

    def stop(self) -> None:
        """Hear no more."""


class Daemon:
    """Holds `plumbing` to what it should be: at every change that `watch` hears of, and every few seconds.

    `repaired` is told of each repair; what `further` answers is part of the status. `exceptions` gives the
    operator's exceptions, waiting for the disk, or raises `ValueError`; the last good ones stay in force
    then. `tear_down` is called when an operator asked for the end of the instance.
    """

    def __init__(
        self,
        clock: IReactorTime,
        plumbing: KernelPlumbing,
        feed: Feed,
        exceptions: Callable[[], Awaitable[Exceptions]],
        tear_down: Callable[[], Awaitable[None]],
        *,
        watch: Watch,
        repaired: Callable[[Repair], None],
        further: Callable[[], Message] = dict,
    ) -> None:
        self._plumbing = plumbing
        self._feed = feed
        self._exceptions = exceptions
        self._tear_down = tear_down
        self._loop = LoopingCall(self._compare)
        self._loop.clock = clock
        self._clock = clock
        self._watch = watch
        self._further = further
        self._pace = Pace(clock, self._look)
        self._repairs = Repairs(clock.seconds, repaired)
        self._problem = ""
        self._policy_problem = ""
        self.ready = False
        self.found: frozenset[str] = frozenset()

    async def start(self) -> None:
        """Take over or build everything, then go on comparing. Raises `PlumbingError`."""
        done = await self._plumbing.start()
        _log.info("namespace in place after {count} steps", count=len(done.steps))
        self.found = frozenset(a.endpoint for a in self._plumbing.attachments())
        await self._take_exceptions()
        self._begin_watch()
        self.ready = True
        self._loop.start(EVERY, now=False).addErrback(
            lambda failure: _log.failure("the comparison ended", failure=failure)
        )

    def stop(self) -> None:
        """Compare no more; the kernel keeps everything."""
        self.ready = False
        self._pace.stop()
        self._watch.stop()
        if self._loop.running:
            self._loop.stop()

    async def reload(self) -> None:
        """Read the exceptions again and compare at once. Raises `PlumbingError`."""
        await self._take_exceptions()
        await self.compare()

    def heard(self, notice: Notice) -> None:
        """Something changed in the kernel: compare soon, unless it was our own doing."""
        if notice.own:
            return
        self._repairs.noticed(notice)
        self._pace.ask()

    async def compare(self) -> bool:
        """Compare once; whether something was amiss. `status` shows a failure, nothing is raised."""
        causes = self._repairs.causes()
        try:
            done = await self._plumbing.reconcile()
            self._watch.follow()
        except (PlumbingError, OSError) as error:
            if str(error) != self._problem:
                _log.error("{error}", error=str(error))
            self._problem = str(error)
            self._repairs.unanswered(causes)
            return True
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - raised out of here it would end the regular comparison, for good
            _log.failure("the comparison failed")
            self._problem = "the comparison of the kernel with the plan failed; see the log of egress-netd"
            self._repairs.unanswered(causes)
            return True
        self._problem = ""
        for endpoint in done.vanished:
            _log.info("endpoint {endpoint} is gone with its container", endpoint=endpoint)
        self._repairs.done(done, causes)
        return bool(done.steps)

    def status(self) -> Message:
        """What `egress status` shows of netd."""
        return {
            "ready": self.ready and not self._problem,
            "networks": len(self._plumbing.networks()),
            "endpoints": len(self._plumbing.attachments()),
            "generation": self._feed.generation,
            "subscribers": self._feed.subscribers(),
            "repairs": self._repairs.count,
            "last_repair": self._repairs.last,
            "recent_repairs": self._repairs.recent(),
            "problem": self._problem or self._policy_problem,
            **self._further(),
        }

    def operations(
        self, counters: Callable[[], Awaitable[Mapping[str, tuple[int, int]]]]
    ) -> dict[str, Operation]:
        """What the control socket answers; root only, but for `status`."""

        def status(_message: Message, _peer: Peer) -> Message:
            return self.status()

        async def reload(_message: Message, _peer: Peer) -> Message:
            try:
                await self.reload()
            except PlumbingError as error:
                raise ControlError("not-applied", str(error)) from error
            if self._policy_problem:
                raise ControlError("policy-invalid", self._policy_problem)
            return {}

        async def drift(_message: Message, _peer: Peer) -> Message:
            try:
                return {"steps": list(await self._plumbing.drift())}
            except PlumbingError as error:
                raise ControlError("not-readable", str(error)) from error

        async def count(_message: Message, _peer: Peer) -> Message:
            try:
                counts = await counters()
            except PlumbingError as error:
                raise ControlError("not-readable", str(error)) from error
            return {"counters": {name: {"packets": p, "bytes": b} for name, (p, b) in counts.items()}}

        async def end(_message: Message, _peer: Peer) -> Message:
            self.stop()
            try:
                await self._tear_down()
            except PlumbingError as error:
                raise ControlError("not-removed", str(error)) from error
            return {}

        return {
            "status": Operation(status),
            "reload": Operation(reload),
            "drift": Operation(drift),
            "counters": Operation(count),
            "teardown": Operation(end),
        }

    def _compare(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.compare())

    async def _look(self) -> bool:
        amiss = await self.compare()
        if self._problem and self.ready:
            self._clock.callLater(RETRY, self._pace.ask)
        return amiss

    def _begin_watch(self) -> None:
        try:
            self._watch.start(self.heard)
        except OSError as error:
            raise PlumbingError(f"cannot listen to the kernel: {error}") from error
        self._pace.ask()  # for what changed before we listened

    async def _take_exceptions(self) -> None:
        try:
            exceptions = await self._exceptions()
        except ValueError as error:
            self._policy_problem = str(error)
            _log.error("the operator's exceptions stay as they were: {error}", error=str(error))
            return
        self._policy_problem = ""
        await self._plumbing.set_exceptions(exceptions)
