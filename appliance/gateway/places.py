"""Who of those turned away is given the time to read why: few at a time, and few of anybody.

A connection that is refused stays for as long as its page may take (`Limits.closing_seconds`), outside of
all other limits. A container has at most an eighth of the places and a tenant a quarter, so that a flood of
one leaves room to tell the others.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.endpoints import Endpoint

OF_A_CONTAINER = 8
OF_A_TENANT = 4
"""One part in so many of the places, and always one place."""


class Places:
    """So many places (`bound`); each is given back once."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._containers: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are."""
        return self._tenants.total()

    def take(self, endpoint: Endpoint) -> bool:
        """Whether there is a place for one more of the endpoint; it is taken then."""
        if (
            self.taken >= self._bound
            or self._containers[endpoint.id] >= max(1, self._bound // OF_A_CONTAINER)
            or self._tenants[endpoint.tenant] >= max(1, self._bound // OF_A_TENANT)
        ):
            return False
        self._containers[endpoint.id] += 1
        self._tenants[endpoint.tenant] += 1
        return True

    def give_back(self, endpoint: Endpoint) -> None:
        """A place that was taken for the endpoint."""
        for counted, key in ((self._containers, endpoint.id), (self._tenants, endpoint.tenant)):
            counted[key] -= 1
            if not counted[key]:
                del counted[key]
