"""Which containers Squid serves in a worker's stead, and when that changes (pure).

A container belongs to one worker, by a hash of its address (`netns.ruleset`); a worker's *share* is all of
its containers. A share goes to Squid and back as a whole, and the other shares do not notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Steering:
    """Worker numbers: `fallen` are those whose share Squid serves.

    A share in `draining` is its worker's again, but for connections that Squid still has. With `ready`, what
    finds no worker tries Squid in the moment before somebody has noticed.
    """

    fallen: frozenset[int] = frozenset()
    draining: frozenset[int] = frozenset()
    ready: bool = True

    def moved(self, fallen: frozenset[int], *, ready: bool = True) -> Steering:
        """With another set of shares for Squid: what it gives back drains."""
        return Steering(fallen, (self.draining | self.fallen) - fallen, ready)

    def drained(self) -> Steering:
        """With nothing left of what was given back."""
        return Steering(self.fallen, ready=self.ready)


UNSTEERED = Steering()


class Mode(StrEnum):
    """Who decides."""

    AUTO = "auto"  # the workers' health
    ON = "on"  # an operator: Squid serves everybody
    OFF = "off"  # an operator: nobody, whatever happens to the workers


class Condition(StrEnum):
    """What a process shows of itself."""

    AWAY = "away"  # nobody listens, or nobody answers
    ALIVE = "alive"  # it answers, and says that it is not ready
    READY = "ready"


def at_start(mode: Mode, workers: int) -> Steering:
    """The steering for what an operator said before: nothing else is ever in the kernel."""
    return Steering(frozenset(range(workers)) if mode is Mode.ON else frozenset(), ready=mode is not Mode.OFF)


def fallen(
    mode: Mode, away: frozenset[int], *, workers: int, squid_ready: bool, now: frozenset[int]
) -> frozenset[int]:
    """The shares that Squid should have; `now` are those that it has.

    Only a Squid that would serve is given a share; one that fails then keeps it until the worker is back, for
    nothing passes either way. A worker that answers and is not ready refuses with reasons of its own.
    """
    match mode:
        case Mode.ON:
            return frozenset(range(workers))
        case Mode.OFF:
            return frozenset()
        case Mode.AUTO:
            return away if squid_ready else away & now


def absent(was: bool, condition: Condition) -> bool:  # noqa: FBT001 - the state before, not a switch
    """Whether a worker counts as away now: it is back only when it is ready, not when it merely answers."""
    match condition:
        case Condition.AWAY:
            return True
        case Condition.ALIVE:
            return was
        case Condition.READY:
            return False
