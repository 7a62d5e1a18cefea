"""What one case of the battery is: a stimulus, where it runs, what must come of it, the canaries behind it.

A refusal is proved by two numbers: the control's count of a canary grew when the control tried (so it was
alive), and the workload's count did not. A case whose canary is dead proves nothing and does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from appliance.verify.world import World


class Layer(StrEnum):
    """Which layer must hold, with the ones before it taken away."""

    GATEWAY = "gateway"  # everything runs
    SQUID = "squid"  # the gateway's workers are gone: the fallback serves
    KERNEL = "kernel"  # a process of ours is somebody else's, or there is no process at all


class Outcome(Enum):
    """What the stimulus must meet with."""

    REACHES = "reaches"
    REFUSED = "refused"


class Image(Enum):
    """What a container of the battery runs: Python 3 and curl; Node.js; a client that reads no variable."""

    PYTHON = "python"
    NODE = "node"
    STATIC = "static"


class Seat(Enum):
    """Where a command runs."""

    CONTAINER = "container"  # a hardened container of the case's tenant
    GATEWAY = "gateway"  # in the gateway namespace, as the gateway's uid: a worker that was taken over
    RESOLVER = "resolver"  # the same as the resolver's uid
    SQUID = "squid"  # the same as the fallback's uid
    SANDBOX = "sandbox"  # in a container's network namespace, as root: a kernel that gave the workload all


class Origin(Enum):
    """Who left a hit on a canary."""

    CONTROL = "control"
    WORKLOAD = "workload"  # anybody but the control


class Evidence(Protocol):
    """Something that would be on record had the target been reached."""

    def hits(self, origin: Origin) -> int:
        """How often it was, so far."""
        ...


@dataclass(frozen=True, slots=True)
class Canary:
    """A target: what shows that it was reached, and how the control reaches it (true when it answered)."""

    name: str
    evidence: Evidence
    touch: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Output:
    """What a stimulus left: exit status (None: stopped for taking too long) and all that it wrote."""

    status: int | None
    text: str


Stimulus = tuple[str, ...] | Callable[["World"], Output]
"""A command for `seat`, or, for what a command cannot do, a function of the world."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `id` begins with the attack's (A4-ssh); `expect` and `forbid` are texts of the output.

    `expect` counts for the layer gateway, `forbid` and the canaries for every layer of `layers`. A
    `disruptive` case stops or breaks something for other tenants: the instance that serves is spared it.
    At the layer kernel a command in a container runs while nothing of ours does.
    """

    id: str
    title: str
    outcome: Outcome
    stimulus: Stimulus
    canaries: tuple[Canary, ...]
    expect: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    tenant: str = "reader"
    image: Image = Image.PYTHON
    seat: Seat = Seat.CONTAINER
    layers: frozenset[Layer] = frozenset({Layer.GATEWAY})
    disruptive: bool = False

    @property
    def attack(self) -> str:
        """The attack's id, such as A4."""
        return self.id.partition("-")[0]

    def takes_away(self, layer: Layer) -> bool:
        """Whether service has to be taken away, for everybody, to try the case at `layer`."""
        return layer is Layer.SQUID or (layer is Layer.KERNEL and self.seat is Seat.CONTAINER)


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended at a layer; `problems` is empty when it held. `not_run` says why it could not run."""

    case: Case
    layer: Layer
    seconds: float
    problems: tuple[str, ...] = ()
    not_run: str = ""
    output: Output | None = field(default=None, repr=False)

    @property
    def held(self) -> bool:
        """Whether it ran and everything was as expected."""
        return not self.problems and not self.not_run
