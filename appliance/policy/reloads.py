"""Reloads of policies in a running process, step by step: traffic goes on while long documents are read."""

from __future__ import annotations

from collections.abc import Callable, Generator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from appliance.policy.set import PolicySet
from appliance.policy.store import PolicyStore
from appliance.stepwise import put_off_full_collections


class Reloads:
    """One at a time for a store; who asks while one is under way is answered by the next."""

    def __init__(self, store: PolicyStore, clock: IReactorTime) -> None:
        self.store = store
        self._clock = clock
        self._work: Generator[None, None, PolicySet] | None = None
        self._collect_as_usual: Callable[[], object] | None = None
        self._asked: list[Deferred[PolicySet]] = []
        self._answered_next: list[Deferred[PolicySet]] = []

    def ask(self) -> Deferred[PolicySet]:
        """Read what stands on disk. Fires with the set in force then; what is wrong: `store.last_error`."""
        asked: Deferred[PolicySet] = Deferred()
        self._asked.append(asked)
        if self._work is None:
            self._begin()
        return asked

    def _begin(self) -> None:
        self._answered_next, self._asked = self._asked, []
        self._work = self.store.reloading()
        self._collect_as_usual = put_off_full_collections()
        self._go_on()

    def _go_on(self) -> None:
        assert self._work is not None
        try:
            next(self._work)
        except StopIteration as done:
            self._end(done.value)
        except Exception:  # noqa: BLE001 - no await here; told to whoever asked
            self._end(Failure())  # type: ignore[no-untyped-call]  # Twisted
        else:
            self._clock.callLater(0, self._go_on)

    def _end(self, result: PolicySet | Failure) -> None:
        self._work = None
        if self._collect_as_usual is not None:
            self._collect_as_usual()
        answered, self._answered_next = self._answered_next, []
        if self._asked:
            self._begin()
        for each in answered:
            each.callback(result)
