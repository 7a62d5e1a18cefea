"""How many questions a container, and all of a tenant's containers together, may ask: token buckets.

Who asks faster is told so, at once, as often as he may ask; beyond that there is silence, so that a flood
costs us no more than what it costs to throw it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OVER_RATE = "queries-per-second-exceeded"
"""The reason of what is refused."""


class Admission(Enum):
    """What becomes of one question."""

    ADMITTED = "admitted"
    LIMITED = "limited"
    LIMITED_FIRST = "limited-first"  # the first since a question was last admitted: write this one down
    TENANT_LIMITED = "tenant-limited"
    TENANT_LIMITED_FIRST = "tenant-limited-first"


LIMITED = frozenset({Admission.LIMITED, Admission.TENANT_LIMITED})
LIMITED_FIRST = frozenset({Admission.LIMITED_FIRST, Admission.TENANT_LIMITED_FIRST})


@dataclass(slots=True)
class _Bucket:
    rate: float
    filled: float
    tokens: float = 0
    limited: bool = False

    def __post_init__(self) -> None:
        self.tokens = self.rate

    def fill(self, rate: int, now: float) -> bool:
        """Put in what has flowed since the last time; whether there is a token to take."""
        self.rate = rate
        self.tokens = min(rate, self.tokens + (now - self.filled) * rate)
        self.filled = now
        return self.tokens >= 1

    def take(self) -> None:
        self.tokens -= 1
        self.limited = False


class QuestionRate:
    """On average so many a second for each endpoint and tenant, and as many at once after a quiet second.

    A question takes from both buckets or from none, so a container over its own rate does not use up its
    tenant's.
    """

    def __init__(self, per_second: int) -> None:
        """`per_second` for each endpoint; a tenant's own rate comes with each question, from its policy."""
        self._rate = per_second
        self._buckets: dict[str, _Bucket] = {}
        self._tenants: dict[str, _Bucket] = {}
        self._refusals: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets) + len(self._refusals)

    def admit(self, endpoint: str, now: float, tenant: str, tenant_rate: int) -> Admission:
        """Take a token of the endpoint with that id and of its tenant, at monotonic time `now`."""
        bucket = self._buckets.setdefault(endpoint, _Bucket(self._rate, now))
        whole = self._tenants.setdefault(tenant, _Bucket(tenant_rate, now))
        fits, whole_fits = bucket.fill(self._rate, now), whole.fill(tenant_rate, now)
        if not fits:
            first, bucket.limited = not bucket.limited, True
            return Admission.LIMITED_FIRST if first else Admission.LIMITED
        if not whole_fits:
            first, whole.limited = not whole.limited, True
            return Admission.TENANT_LIMITED_FIRST if first else Admission.TENANT_LIMITED
        bucket.take()
        whole.take()
        return Admission.ADMITTED

    def used(self, now: float) -> dict[str, tuple[int, int]]:
        """By tenant: how much of its rate is used up at monotonic time `now`, and the rate; none at rest."""
        found = {}
        for tenant, bucket in self._tenants.items():
            gone = bucket.rate - min(bucket.rate, bucket.tokens + (now - bucket.filled) * bucket.rate)
            if gone >= 1:
                found[tenant] = int(gone), int(bucket.rate)
        return found

    def tells(self, endpoint: str, now: float) -> bool:
        """Whether the endpoint with that id, which is over a rate at monotonic time `now`, is told so."""
        bucket = self._refusals.setdefault(endpoint, _Bucket(self._rate, now))
        told = bucket.fill(self._rate, now)
        if told:
            bucket.take()
        return told

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone; its tenant's bucket stays (there are as many as tenants)."""
        self._buckets.pop(endpoint, None)
        self._refusals.pop(endpoint, None)
