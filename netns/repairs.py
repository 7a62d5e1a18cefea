"""What netd had to mend, when, and what it had heard of before: for the log, the audit log and `doctor`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from appliance.audit.record import LifecycleRecord, timestamp
from appliance.ipc import Message
from netns.kernel import Converged
from netns.notices import Notice

KEPT = 10  # repairs that `status` shows
CAUSES = 6  # notices that one repair names
STEPS = 6  # steps that one record spells out

_log = Logger()


@dataclass(frozen=True, slots=True)
class Causes:
    """What was heard before a comparison, and when first (Unix time; None for a comparison out of turn)."""

    heard: tuple[str, ...] = ()
    first: float | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """Something was not as it should be and was mended, at `seconds` (Unix time).

    `after` is the time since the first notice, None when the regular comparison found it.
    """

    seconds: float
    steps: tuple[str, ...]
    heard: tuple[str, ...]
    after: float | None
    containers_gone: int = 0

    def __str__(self) -> str:
        more = f" and {len(self.steps) - STEPS} more" if len(self.steps) > STEPS else ""
        when = "at the regular comparison" if self.after is None else f"{self.after * 1000:.0f} ms after"
        seen = f": {'; '.join(self.heard)}" if self.heard else ""
        gone = f"; {self.containers_gone} container(s) went meanwhile" if self.containers_gone else ""
        return f"{', '.join(self.steps[:STEPS])}{more} ({when}{seen}{gone})"

    def record(self) -> LifecycleRecord:
        """For the audit log."""
        reason = "containers-gone" if self.containers_gone else "drift"
        return LifecycleRecord(event="repaired", subject=self.steps[0], reason=reason, detail=str(self))


class Repairs:
    """Remembers the last repairs; `told` hears of each."""

    def __init__(self, now: Callable[[], float], told: Callable[[Repair], None]) -> None:
        self._now = now
        self._told = told
        self._heard: dict[str, None] = {}
        self._first: float | None = None
        self._recent: deque[Repair] = deque(maxlen=KEPT)
        self.count = 0

    def noticed(self, notice: Notice) -> None:
        """The kernel told of a change; our own are no cause."""
        if notice.own:
            return
        if self._first is None:
            self._first = self._now()
        if len(self._heard) < CAUSES:
            self._heard[str(notice)] = None

    def causes(self) -> Causes:
        """What was noticed since the last call: a comparison that begins now answers it."""
        taken = Causes(tuple(self._heard), self._first)
        self._heard, self._first = {}, None
        return taken

    def unanswered(self, causes: Causes) -> None:
        """The comparison failed; the next one answers the same notices."""
        self._heard = dict.fromkeys((*causes.heard, *self._heard))
        self._first = causes.first if causes.first is not None else self._first

    def done(self, done: Converged, causes: Causes) -> None:
        """Take note of what a comparison did."""
        if not done.steps:
            return
        self.count += len(done.steps)
        now = self._now()
        after = None if causes.first is None else now - causes.first
        repair = Repair(now, tuple(map(str, done.steps)), causes.heard, after, len(done.vanished))
        self._recent.append(repair)
        _log.warn("repaired: {repair}", repair=str(repair))
        self._told(repair)

    @property
    def last(self) -> str:
        """The newest repair in few words, empty when there was none."""
        if not self._recent:
            return ""
        steps = self._recent[-1].steps
        more = f" and {len(steps) - 1} more" if steps[1:] else ""
        return f"{timestamp(self._recent[-1].seconds)} {steps[0]}{more}"

    def recent(self) -> list[Message]:
        """The last repairs, newest first."""
        return [
            {"time": timestamp(repair.seconds), "repair": str(repair), "steps": len(repair.steps)}
            for repair in reversed(self._recent)
        ]
