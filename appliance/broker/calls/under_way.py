"""Calls that are under way, so that they can be ended when what they are made with is taken away.

A call looks at the policy for the last time when it is sent. Its answer may take long, and who takes an
account, a secret or a workload away means what is under way with it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from appliance.handover import Attestation
    from appliance.policy.bound import CompiledAccount
    from appliance.refusal import Refusal


class Withdrawable(Protocol):
    """A call. `account` is None before it is decided with whose secret it is made."""

    @property
    def attestation(self) -> Attestation:
        """Whose call it is."""

    @property
    def account(self) -> CompiledAccount | None:
        """With whose secret it is made."""

    def withdraw(self, refusal: Refusal) -> None:
        """End it, on record, however far it came. One that is over does nothing."""


class UnderWay:
    """Calls that have begun. One that nobody else refers to is over."""

    def __init__(self) -> None:
        self._calls: WeakSet[Withdrawable] = WeakSet()

    def add(self, call: Withdrawable) -> None:
        """A call begins."""
        self._calls.add(call)

    def end(self, which: Callable[[Attestation, CompiledAccount | None], bool], refusal: Refusal) -> None:
        """End those of which `which` says so, each with its record."""
        for call in tuple(self._calls):
            if which(call.attestation, call.account):
                call.withdraw(refusal)
