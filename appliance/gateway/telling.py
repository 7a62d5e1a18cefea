"""Which refusals of a worker share a record (see `appliance.telling`), by the worker's own bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance import telling

if TYPE_CHECKING:
    from appliance.audit.log import AuditLog
    from appliance.gateway.limits import Limits
    from appliance.outgoing.deadlines import Deadlines


class Telling(telling.Telling):
    """Decides for all endpoints of a worker."""

    def __init__(
        self, audit: AuditLog, deadlines: Deadlines, limits: Limits, nanoseconds: Callable[[], int]
    ) -> None:
        bounds = telling.Bounds(limits.told_per_second, limits.told_per_hour, limits.told_per_hour_of_tenant)
        super().__init__(audit, deadlines, nanoseconds, bounds)
