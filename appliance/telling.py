"""Which refusals have a record of their own: the first of a flood. The others have one together.

Only what was refused before anything was done for it comes here. What was allowed has its own record, however
often it comes and however it ended. So a container does not push the records of others out of the log by
requests, connections or questions that cost it nothing.

Room for a record that stands for many is claimed before the first of them is answered. It is written
`COLLECT_SECONDS` later, or when the container leaves or the process ends, whichever comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.logger import Logger

from appliance.audit.log import AuditLog, AuditUnavailable, Claim
from appliance.audit.record import ConnectionRecord, DnsRecord, RequestRecord
from appliance.limits.window import CELLS, SECOND, add, used
from appliance.outgoing.deadlines import NEVER, Deadlines

COLLECT_SECONDS = 10.0
HOUR = 3600 * SECOND
MANY = "refused-in-a-flood"
"""The reason of a record that stands for several; its detail says how many there were for which reason."""
_REASONS_NAMED = 6
TENANTS = 4096
"""Tenants that are told apart; those after them count as one."""

Refused = RequestRecord | ConnectionRecord | DnsRecord

_log = Logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many refusals are recorded one by one: of an endpoint, and of all of a tenant's endpoints."""

    per_second: int = 20
    per_hour: int = 3600
    per_hour_of_tenant: int = 7200


class Collected:
    """Refusals of one endpoint that wait for their common record; `deadline` is when it is written.

    `second` and `hour` count its own records, `whole` those of its tenant.
    """

    def __init__(self, audit: AuditLog, clock: Callable[[], float], whole: list[int]) -> None:
        self.deadline = NEVER
        self.second, self.hour, self.whole = [0] * CELLS, [0] * CELLS, whole
        self._audit = audit
        self._clock = clock
        self._claim: Claim | None = None
        self._last: Refused | None = None
        self._since = 0.0
        self._reasons: Counter[str] = Counter()

    def add(self, record: Refused, claim: Claim | None) -> None:
        """One more; what it has claimed itself is used or given back. Raises `AuditUnavailable`."""
        if self._claim is None:
            self._claim = claim or self._audit.claim()
            self._since = self._clock()
            self.deadline = self._since + COLLECT_SECONDS
        elif claim is not None:
            claim.release()
        self._last = record
        self._reasons[record.reason] += record.count

    def deadline_passed(self) -> None:
        """Write the record of those that wait, if there are any."""
        claim, last, reasons = self._claim, self._last, self._reasons
        self._claim, self._last, self._reasons, self.deadline = None, None, Counter(), NEVER
        if claim is None or last is None:
            return
        try:
            claim.write(_together(last, reasons, self._clock() - self._since))
        except AuditUnavailable:
            _log.warn("{count} refusals could not be recorded", count=reasons.total())


class Telling:
    """Decides for all endpoints of a process. One that is no longer `attached` counts as its tenant."""

    def __init__(
        self,
        audit: AuditLog,
        deadlines: Deadlines,
        nanoseconds: Callable[[], int],
        bounds: Bounds = Bounds(),
        attached: Callable[[str], bool] = lambda _endpoint: True,
    ) -> None:
        self._audit = audit
        self._deadlines = deadlines
        self._clock = nanoseconds
        self._bounds = bounds
        self._attached = attached
        self._collected: dict[str, Collected] = {}
        self._tenants: dict[str, list[int]] = {}
        self._closed = False

    def write(self, record: Refused, claim: Claim | None = None) -> None:
        """Record a refusal, or count it for later. `claim`: room that it has. Raises `AuditUnavailable`."""
        collected = None if self._closed else self._of(record)
        if collected is not None and not self._has_its_own(collected):
            collected.add(record, claim)
        elif claim is not None:
            claim.write(record)
        else:
            self._audit.write(record)

    def add(self, record: Refused) -> None:
        """Count a refusal for later: more of what was recorded already. Raises `AuditUnavailable`."""
        if self._closed:
            self._audit.write(record)
        else:
            self._of(record).add(record, None)

    def forget(self, endpoint: str) -> None:
        """The endpoint has left: what waits is written now."""
        collected = self._collected.pop(endpoint, None)
        if collected is not None:
            self._deadlines.forget(collected)
            collected.deadline_passed()

    def close(self) -> None:
        """Write all that waits; what is refused from now on has a record of its own."""
        self._closed = True
        for endpoint in list(self._collected):
            self.forget(endpoint)

    def _of(self, record: Refused) -> Collected:
        endpoint, tenant = record.endpoint, record.tenant or ""
        if tenant not in self._tenants and len(self._tenants) >= TENANTS:
            tenant = ""
        # No endpoint's id has a space.
        whose = endpoint if endpoint and self._attached(endpoint) else f"tenant {tenant}"
        collected = self._collected.get(whose)
        if collected is None:
            whole = self._tenants.setdefault(tenant, [0] * CELLS)
            collected = self._collected[whose] = Collected(self._audit, self._deadlines.seconds, whole)
            self._deadlines.watch(collected)
        return collected

    def _has_its_own(self, collected: Collected) -> bool:
        now, bounds = self._clock(), self._bounds
        windows = (
            (collected.second, SECOND, bounds.per_second),
            (collected.hour, HOUR, bounds.per_hour),
            (collected.whole, HOUR, bounds.per_hour_of_tenant),
        )
        if any(used([(cells, 0)], 0, now, length) >= bound for cells, length, bound in windows):
            return False
        for cells, length, _ in windows:
            add(cells, 0, now, length, 1)
        return True


def _together(last: Refused, reasons: Counter[str], seconds: float) -> Refused:
    """The last of several as the record of all: who, how many, of what kind, in how long."""
    count = reasons.total()
    if count == last.count:
        return last
    named = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common(_REASONS_NAMED))
    others = len(reasons) - _REASONS_NAMED
    more = f" and {others} other reasons" if others > 0 else ""
    detail = f"{count} refusals in the {seconds:.0f} s before this record, the last as shown: {named}{more}."
    if isinstance(last, RequestRecord):
        last = replace(last, path="", query_keys=())
    return replace(last, reason=MANY, detail=detail, count=count)
