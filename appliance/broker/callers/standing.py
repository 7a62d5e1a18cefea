"""Which authenticated callers may call still: not who was ended, nor whose proof has ended meanwhile.

What is revoked stands in the database, and each request asks that. Here is what calls under way, and those
that bring no key of ours, are asked; it lasts as long as the process.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from appliance.broker.calls import refusals
from appliance.broker.identity.actors import Caller
from appliance.refusal import Refusal

K = TypeVar("K")

REMEMBERED = 65536
"""Of keys, and of others: who was ended first is forgotten first."""

ENDED = refusals.denied(
    403, "caller-ended", "The caller was ended after an authority collision, or its key was revoked.",
    "Ask the operator for a new key, or to take the caller back.",
)  # fmt: skip
PROOF_EXPIRED = refusals.denied(
    403, "caller-expired", "The key or token has expired while the call was under way.", "Get a new one."
)


class Standing:
    """`now` is the clock's."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._keys: dict[str, None] = {}
        self._others: dict[tuple[str, str], None] = {}

    def refusal(self, caller: Caller) -> Refusal | None:
        """Why the caller may not call, or None. A new key of the same actor stands anew."""
        ended = (
            (caller.tenant, caller.principal) in self._others
            if caller.key is None
            else caller.key in self._keys
        )
        if ended:
            return ENDED
        expired = caller.until is not None and caller.until <= self._now().timestamp()
        return PROOF_EXPIRED if expired else None

    def end(self, caller: Caller) -> None:
        """From now on it may not: by its key where it has one, else by its name."""
        if caller.key is not None:
            self.key_revoked(caller.key)
        else:
            _remember(self._others, (caller.tenant, caller.principal))

    def key_revoked(self, key: str) -> None:
        """The operator's word; the database has it as well."""
        _remember(self._keys, key)

    def readmit(self, tenant: str, principal: str) -> bool:
        """Take back who brings no key of ours. Whether it had been ended."""
        if (tenant, principal) not in self._others:
            return False
        del self._others[tenant, principal]
        return True

    def ended(self) -> tuple[tuple[str, str], ...]:
        """Tenant and principal of those that `readmit` would take back."""
        return tuple(self._others)


def _remember(ended: dict[K, None], one: K) -> None:
    ended[one] = None
    if len(ended) > REMEMBERED:
        del ended[next(iter(ended))]
