"""Gives workers' shares to Squid and back, as their health or an operator wants it, and keeps account."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from appliance.audit.record import LifecycleRecord, timestamp
from appliance.control import ControlError, Operation, Peer
from netns.fallback_mode import NOTHING_SAID, Kept
from netns.plumbing import PlumbingError
from netns.pulse import Pulse
from netns.shares import Condition, Mode, Steering, absent, at_start, fallen

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from appliance.ipc import Message

STARTING = 10.0
"""Seconds after our start in which a worker that was not there yet is one that is being started."""

DRAIN = 10.0
"""Seconds that connections of Squid have to come to their end after their share is its worker's again."""

RETRY = 0.5
KEPT = 10  # flips that `status` shows

Watched = Callable[[Callable[[], None]], Pulse]
"""Makes the pulse of a process, given whom to tell of changes."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class Flip:
    """Shares that changed hands at `seconds` (Unix time), `after` seconds after the reason was seen."""

    seconds: float
    to_squid: tuple[str, ...]
    to_workers: tuple[str, ...]
    why: str
    after: float

    def __str__(self) -> str:
        moves = [f"{', '.join(self.to_squid)} to the fallback"] if self.to_squid else []
        moves += [f"{', '.join(self.to_workers)} back from the fallback"] if self.to_workers else []
        return f"{' and '.join(moves)}: {self.why} ({self.after * 1000:.0f} ms after)"

    def records(self) -> tuple[LifecycleRecord, ...]:
        """For the audit log, one for each direction."""
        return tuple(
            LifecycleRecord(event=event, subject=", ".join(names), reason=self.why, detail=str(self))
            for event, names in (("fallback-began", self.to_squid), ("fallback-ended", self.to_workers))
            if names
        )


class Fallback:
    """`workers` are watched by name in the order of their numbers; `steer` does what was decided.

    `record` is told of each flip, and of each operator's word. `kept` is what an operator had said before we
    were started, and in the kernel by now; `keep` is given what he says, and may raise `OSError`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        workers: Mapping[str, Watched],
        squid: Watched,
        steer: Callable[[Steering], Awaitable[None]],
        record: Callable[[LifecycleRecord], None],
        *,
        kept: Kept = NOTHING_SAID,
        keep: Callable[[Mode], None] = lambda _: None,
    ) -> None:
        self._clock, self._steer, self._record = clock, steer, record
        self._names = tuple(workers)
        self._workers = [watched(self._changed) for watched in workers.values()]
        self._squid = squid(self._changed)
        self._away = [False] * len(self._names)
        self._seen = [False] * len(self._names)
        self._kept, self._keep = kept, keep
        self._mode, self._told = kept.mode, False
        self._steering = at_start(kept.mode, len(self._names))
        self._acting = DeferredLock()
        self._noticed: float | None = None
        self._began = 0.0
        self._stopped = False
        self._end_of_start: IDelayedCall | None = None
        self._again: IDelayedCall | None = None
        self._end_of_drain: IDelayedCall | None = None
        self._flips: deque[Flip] = deque(maxlen=KEPT)

    def start(self) -> None:
        """Watch, and act from now on."""
        if self._kept != NOTHING_SAID:
            self._record(
                LifecycleRecord(
                    event="fallback-set",
                    subject=self._mode.value,
                    reason="mode-unreadable" if self._kept.problem else "kept",
                    detail=self._kept.problem or None,
                )
            )
        self._began = self._clock.seconds()
        self._end_of_start = self._clock.callLater(STARTING, self._changed)
        for pulse in (*self._workers, self._squid):
            pulse.start()

    def stop(self) -> None:
        """Act no more; the kernel keeps what it has."""
        self._stopped = True
        for pulse in (*self._workers, self._squid):
            pulse.stop()
        for call in (self._end_of_start, self._again, self._end_of_drain):
            if call is not None and call.active():
                call.cancel()

    async def force(self, mode: Mode) -> None:
        """Do as an operator says, until he says otherwise, also after a new start. Raises `PlumbingError`."""
        try:
            self._keep(mode)
        except OSError as error:
            raise PlumbingError(f"it cannot be kept: {error}") from error
        self._kept = Kept(mode)
        self._record(LifecycleRecord(event="fallback-set", subject=mode.value, reason="operator"))
        self._mode, self._told = mode, True
        self._look()
        try:
            await self._settle()
        finally:
            self._told = False

    def status(self) -> Message:
        """What `egress status` and `egress doctor` show: a sentence, and the facts behind it."""
        served = [self._names[index] for index in sorted(self._steering.fallen)]
        says = [f"serves {', '.join(served)}" if served else "stands by"]
        if self._kept.problem:
            says.append(
                f"set {self._mode.value}, for nobody knows what an operator said: {self._kept.problem}"
            )
        elif self._mode is not Mode.AUTO:
            says.append(f"set {self._mode.value} by an operator")
        if self._squid.condition is not Condition.READY:
            says.append("squid is " + ("away" if self._squid.condition is Condition.AWAY else "not ready"))
        return {
            "fallback": ", ".join(says),
            "fallback_mode": self._mode.value,
            "fallback_ready": self._squid.condition is Condition.READY,
            "fallback_serves": served,
            "recent_flips": [
                {"time": timestamp(flip.seconds), "flip": str(flip)} for flip in reversed(self._flips)
            ],
        }

    def operations(self) -> dict[str, Operation]:
        """What the control socket answers; root only."""

        async def fallback(message: Message, _peer: Peer) -> Message:
            try:
                mode = Mode(str(message.get("mode")))
            except ValueError:
                raise ControlError("invalid-request", "`mode` must be on, off or auto") from None
            try:
                await self.force(mode)
            except PlumbingError as error:
                raise ControlError("not-applied", str(error)) from error
            return self.status()

        return {"fallback": Operation(fallback)}

    def _changed(self) -> None:
        """Something may have changed: decide anew, and act."""
        if self._stopped:
            return
        self._look()
        if self._wanted() != self._steering.fallen:
            Deferred.fromCoroutine(self._settle()).addErrback(self._failed)

    def _look(self) -> None:
        starting = self._clock.seconds() - self._began < STARTING
        for index, pulse in enumerate(self._workers):
            self._seen[index] = self._seen[index] or pulse.condition is Condition.READY
            if self._seen[index] or not starting:
                self._away[index] = absent(self._away[index], pulse.condition)
        if self._wanted() == self._steering.fallen:
            self._noticed = None
        elif self._noticed is None:
            self._noticed = self._clock.seconds()

    def _wanted(self) -> frozenset[int]:
        away = frozenset(index for index, gone in enumerate(self._away) if gone)
        ready = self._squid.condition is Condition.READY
        return fallen(
            self._mode, away, workers=len(self._names), squid_ready=ready, now=self._steering.fallen
        )

    async def _settle(self) -> None:
        """Bring the kernel to what is wanted by then. Raises `PlumbingError`."""
        await self._acting.acquire()
        try:
            while not self._stopped and (wanted := self._wanted()) != self._steering.fallen:
                await self._flip(wanted)
            if self._steering.ready is not (ready := self._mode is not Mode.OFF) and not self._stopped:
                await self._bring(self._steering.moved(self._steering.fallen, ready=ready))
        finally:
            self._acting.release()

    async def _flip(self, wanted: frozenset[int]) -> None:
        before, noticed = self._steering.fallen, self._noticed
        steering = self._steering.moved(wanted, ready=self._mode is not Mode.OFF)
        why = self._why(wanted - before)
        await self._bring(steering)
        self._noticed = None
        now = self._clock.seconds()
        flip = Flip(
            now,
            tuple(self._names[i] for i in sorted(wanted - before)),
            tuple(self._names[i] for i in sorted(before - wanted)),
            why,
            0.0 if noticed is None else now - noticed,
        )
        self._flips.append(flip)
        _log.warn("fallback: {flip}", flip=str(flip))
        for record in flip.records():
            self._record(record)
        if steering.draining:
            if self._end_of_drain is not None and self._end_of_drain.active():
                self._end_of_drain.cancel()
            self._end_of_drain = self._clock.callLater(DRAIN, self._drain_ends)

    async def _bring(self, steering: Steering) -> None:
        await self._steer(steering)
        self._steering = steering

    def _why(self, taken: frozenset[int]) -> str:
        if self._told or self._mode is not Mode.AUTO:
            return "operator"
        if not taken:
            return "worker-back"
        return "worker-silent" if any(self._workers[index].silent for index in taken) else "worker-gone"

    def _drain_ends(self) -> None:
        Deferred.fromCoroutine(self._drained()).addErrback(self._failed)

    async def _drained(self) -> None:
        await self._acting.acquire()
        try:
            await self._bring(self._steering.drained())
        finally:
            self._acting.release()

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, PlumbingError):
            _log.error("the fallback is not where it should be: {why}", why=str(failure.value))
        else:
            _log.failure("the fallback could not act", failure=failure)
        if not self._stopped and (self._again is None or not self._again.active()):
            self._again = self._clock.callLater(RETRY, self._changed)
