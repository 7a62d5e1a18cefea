"""Which refusals have a record of their own: so many of one workload, or uid. The others are counted.

What is refused costs who asks nothing, and all share the files of records: a flood would push others' out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.broker.api.pace import Pace

if TYPE_CHECKING:
    from appliance.audit.log import AuditLog
    from appliance.audit.record import LifecycleRecord

AT_ONCE, EACH = 60, 1.0
"""Records, and seconds for each further one: 3600 in an hour, as of a container's refusals at the gateway."""


class Telling:
    """Over `audit`. `clock` tells seconds."""

    def __init__(self, audit: AuditLog, clock: Callable[[], float]) -> None:
        self._audit = audit
        self._pace = Pace(AT_ONCE, EACH, clock)
        self._untold: Counter[str] = Counter()

    def write(self, whose: str, record: LifecycleRecord) -> None:
        """Record a refusal, with the number of those before it that have no record; or count it.

        Raises `AuditUnavailable`.
        """
        if self._pace.take(whose):
            self._untold[whose] += 1
            return
        untold = self._untold[whose]
        if untold:
            record = replace(record, detail=f"{record.detail}; {untold} before it have no record")
        self._audit.write(record)
        del self._untold[whose]

    def forget(self, whose: str) -> None:
        """Nothing more comes of it."""
        self._pace.forget(whose)
        del self._untold[whose]
