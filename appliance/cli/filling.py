"""How full the limits are: what the workers and the resolver say, added up for `egress top`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance import ipc

QUERIES = "queries_per_second"


@dataclass(frozen=True, slots=True)
class Filled:
    """One limit of a tenant, as `limits:` of its policy names it, and how much of it is used up.

    `name` is the container or the destination (`host:port`), empty for the tenant as a whole.
    """

    scope: str
    name: str
    measure: str
    used: int
    limit: int

    @property
    def percent(self) -> int:
        """Rounded down; over 100 for what went over in one piece."""
        return self.used * 100 // self.limit

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.percent}%", self.scope, self.name, self.measure)))


def filled(answers: Iterable[ipc.Message], asking: Mapping[str, Sequence[int]]) -> dict[str, list[Filled]]:
    """By tenant, the fullest first. `asking` is what the resolver says: (questions, limit) by tenant.

    Each worker counts what all of them see of tenants and destinations: the greatest number is the newest.
    """
    found: dict[tuple[str, ...], Filled] = {}
    for answer in answers:
        for row in answer.get("limits", ()):
            tenant, scope, of, measure = (str(row[key]) for key in ("tenant", "scope", "of", "measure"))
            seen = Filled(scope, str(row["name"]), measure, int(row["used"]), int(row["limit"]))
            known = found.get((tenant, scope, of, measure))
            if known is None or seen.used > known.used:
                found[tenant, scope, of, measure] = seen
    for tenant, (used, rate) in asking.items():
        found[tenant, "tenant", "", QUERIES] = Filled("tenant", "", QUERIES, used, rate)
    tenants: dict[str, list[Filled]] = {}
    for (tenant, *_), limit in found.items():
        tenants.setdefault(tenant, []).append(limit)
    for limits in tenants.values():
        limits.sort(key=lambda limit: (-limit.used / limit.limit, limit.scope, limit.name, limit.measure))
    return tenants
