"""Opaque handles: what a workload holds in the place of a secret, for one execution and 300 seconds at most.

    ask           a workload wants one, and its secret is about to be read
    register      the secret was decrypted; a random name for it goes to the workload
    resolve       the name comes back in a request of the same execution, account and tenant
    revoke_all    the execution was completed, failed or left: each of its names is dead, for good

An account or a secret that is withdrawn takes along its handles, and those that are asked for at that moment:
what was read before a withdrawal is never registered after it.

A handle says nothing about its secret: it is not computed from it. What it stands for is known to this
object and to nothing that outlives it, so that after a restart every handle is dead. Python cannot overwrite
a `str`: `release` is how the giver of the material clears what it can, and no reference to it is kept here.

An execution that was revoked gets no further handle, also when a secret was still being decrypted for it.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from appliance.broker.vault.kinds import Material

if TYPE_CHECKING:
    from appliance.broker.vault.vault import Stored

PREFIX = "hb_cred_"
OCTETS = 24
"""Of randomness: 192 bits, 32 characters of base64url."""

HANDLE = re.compile(r"hb_cred_[A-Za-z0-9_-]{32}")
LIFE = 300.0
"""Seconds from `register` to the purge, whether anybody asks or not."""

WITHDRAWN = "policy-changed"
"""Code of `HandleRefused`: the account or its secret was taken away, or replaced, since `ask`."""

_REMEMBERED = 65536
_DRAWS = 4

Release = Callable[[], object]


class HandleRefused(Exception):
    """No handle was given. `code` is stable, `detail` one sentence without any handle or secret."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a handle means something, and which secret it stands for, by its place in the vault.

    `execution` is an id of our own making, `account` an integration's.
    """

    tenant: str
    execution: str
    account: str
    integration: str
    secret: str


class Pending:
    """A handle that is asked for and not registered yet; `withdrawn` once it must not be any more."""

    __slots__ = ("__weakref__", "bound", "withdrawn")

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.withdrawn = False


@dataclass(frozen=True, slots=True)
class HandleLimits:
    """How many may live at the same time."""

    of_execution: int = 32
    of_tenant: int = 2048
    in_all: int = 16384


@dataclass(frozen=True, slots=True)
class Lives:
    """How long material was held, over all purged handles; seconds."""

    purged: int = 0
    seconds: float = 0.0
    longest: float = 0.0


class Resolved(NamedTuple):
    """What a live handle stands for: the material, and which version of the vault's it is."""

    material: Material
    stored: Stored


class _Held:
    """One handle's material; empty after the purge, whoever still has this object."""

    __slots__ = ("bound", "material", "release", "since", "stored", "timer")

    def __init__(
        self, bound: Bound, material: Material, stored: Stored, release: Release, since: float
    ) -> None:
        self.bound = bound
        self.stored = stored
        self.material: Material | None = material
        self.release: Release | None = release
        self.since = since
        self.timer: IDelayedCall | None = None


class Handles:
    """The live handles of this process. `randomness` is `secrets.token_urlsafe`."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        randomness: Callable[[int], str] = secrets.token_urlsafe,
        limits: HandleLimits | None = None,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._limits = limits or HandleLimits()
        self._held: dict[str, _Held] = {}
        self._pending: WeakSet[Pending] = WeakSet()
        self._executions: dict[str, set[str]] = {}
        self._tenants: Counter[str] = Counter()
        self._ended = _Remembered()
        self._dead = _Remembered()
        self.lives = Lives()

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Handles: {len(self._held)} live>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("handles are never written anywhere")

    def ask(self, bound: Bound) -> Pending:
        """Whether one would be given now, before anything is decrypted. Raises `HandleRefused`.

        To be called before the secret is read: what is withdrawn from then on is not registered.
        """
        self._check(bound)
        pending = Pending(bound)
        self._pending.add(pending)
        return pending

    def register(self, pending: Pending, material: Material, stored: Stored, release: Release) -> str:
        """A new handle for `material`. Raises `HandleRefused`.

        `release` is called once: when the handle is purged, or before this raises.
        """
        bound = pending.bound
        try:
            handle = self._new_name(pending)
        except BaseException:
            release()
            raise
        held = _Held(bound, material, stored, release, self._clock.seconds())
        self._held[handle] = held
        self._executions.setdefault(bound.execution, set()).add(handle)
        self._tenants[bound.tenant] += 1
        held.timer = self._clock.callLater(LIFE, self._purge, (handle,))
        return handle

    def resolve(self, handle: str, bound: Bound) -> Resolved | None:
        """What a live handle stands for; None for any other text, and where it is bound elsewhere."""
        held = self._held.get(handle)
        if held is None or held.bound != bound:
            return None
        if self._clock.seconds() - held.since >= LIFE:  # the reactor is late
            self._purge((handle,))
            return None
        return None if held.material is None else Resolved(held.material, held.stored)

    def live(self) -> list[tuple[Bound, float]]:
        """What is held, and for how many seconds; without the handles, which nobody else is to see."""
        now = self._clock.seconds()
        return [(held.bound, now - held.since) for held in self._held.values()]

    def revoke_all(self, execution: str) -> int:
        """End an execution: completed, failed, cancelled, disconnected, collided. How many handles died."""
        self._ended.add(execution)
        return self._purge(tuple(self._executions.get(execution, ())))

    def revoke_account(self, tenant: str, account: str) -> int:
        """An account was taken away, or its secret replaced. How many handles died; there may be new ones."""
        return self._withdraw(lambda bound: (bound.tenant, bound.account) == (tenant, account))

    def purge_everything(self) -> int:
        """Nothing that was decrypted is kept any longer; no execution is ended. How many handles died."""
        return self._withdraw(lambda _: True)

    def revoke_everything(self) -> int:
        """End every execution that holds a handle, as a process does before it goes. How many died."""
        return sum(self.revoke_all(execution) for execution in tuple(self._executions))

    def _withdraw(self, which: Callable[[Bound], bool]) -> int:
        """Those that live, and those that are asked for. How many died."""
        for pending in self._pending:
            pending.withdrawn = pending.withdrawn or which(pending.bound)
        return self._purge([name for name, held in self._held.items() if which(held.bound)])

    def _check(self, bound: Bound) -> None:
        if bound.execution in self._ended:
            raise HandleRefused("execution-ended", "the execution is over; begin another")
        limits = self._limits
        if len(self._executions.get(bound.execution, ())) >= limits.of_execution:
            raise HandleRefused("handles-of-execution", f"it holds {limits.of_execution} handles already")
        if self._tenants[bound.tenant] >= limits.of_tenant:
            raise HandleRefused("handles-of-tenant", f"the tenant holds {limits.of_tenant} handles already")
        if len(self._held) >= limits.in_all:
            raise HandleRefused("handles-in-all", f"there are {limits.in_all} handles already")

    def _new_name(self, pending: Pending) -> str:
        if pending.withdrawn:
            raise HandleRefused(WITHDRAWN, "the account, or its secret, was changed meanwhile")
        self._check(pending.bound)
        for _ in range(_DRAWS):
            handle = PREFIX + self._randomness(OCTETS)
            if HANDLE.fullmatch(handle) and handle not in self._held and handle not in self._dead:
                return handle
        raise HandleRefused("randomness-broken", "the source of randomness repeats itself")

    def _purge(self, handles: Iterable[str]) -> int:
        """All are dead before the first is cleared: clearing may fail."""
        now = self._clock.seconds()
        purged = []
        for handle in handles:
            held = self._held.pop(handle)
            self._dead.add(handle)
            self._forget(handle, held.bound)
            if held.timer is not None and held.timer.active():
                held.timer.cancel()
            held.material = None
            purged.append(held)
            self._count(now - held.since)
        for held in purged:
            release, held.release = held.release, None
            assert release is not None
            try:
                release()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are cleared
                # Its text is not ours, and was written beside a secret.
                self.log.critical(
                    "the material of a handle was not cleared: {kind}", kind=type(error).__name__
                )
        return len(purged)

    def _forget(self, handle: str, bound: Bound) -> None:
        siblings = self._executions[bound.execution]
        siblings.discard(handle)
        if not siblings:
            del self._executions[bound.execution]
        self._tenants[bound.tenant] -= 1
        if not self._tenants[bound.tenant]:
            del self._tenants[bound.tenant]

    def _count(self, seconds: float) -> None:
        lives = self.lives
        self.lives = Lives(lives.purged + 1, lives.seconds + seconds, max(lives.longest, seconds))


class _Remembered:
    """The latest of what is over, within bounds: chance alone keeps apart what is older."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        self._names[name] = None
        if len(self._names) > _REMEMBERED:
            del self._names[next(iter(self._names))]
