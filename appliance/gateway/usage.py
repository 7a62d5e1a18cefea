"""What the containers of a worker have had so far: the answer to `usage` on its control socket.

`{"endpoints": [{id, tenant, container, name, address, connections, rate, …counts}], "departed":
[{tenant, …counts}], "limits": [{tenant, scope, of, name, measure, used, limit}]}`. Counts are since the
worker knows the endpoint; `rate` is requests in the last second; `departed` sums up, by tenant, the
containers that have left. `limits` says how full each is: of every tenant all, of containers (`of` is the id,
`name` what a person knows it by) and of destinations those of which something is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.ipc import Message
from appliance.limits.budget import COUNTS, Fill, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.endpoints import Endpoint
    from appliance.gateway.worker import Worker
    from appliance.limits.budget import Tally


def usage(worker: Worker) -> Message:
    """See the module."""
    known = {endpoint.id: endpoint for endpoint in worker.endpoints}
    listed = []
    for identity, tally in worker.budget.tallies.items():
        endpoint = known.get(identity)
        listed.append(
            {
                "id": identity,
                "tenant": tally.tenant,
                "container": endpoint.container if endpoint else "",
                "name": endpoint.name if endpoint else "",
                "address": str(endpoint.address) if endpoint else "",
                "connections": tally.account.open,
                "rate": worker.budget.rate(tally),
                **_counts(tally),
            }
        )
    departed = [{"tenant": tenant, **_counts(tally)} for tenant, tally in worker.budget.departed.items()]
    return {"endpoints": listed, "departed": departed, "limits": list(_limits(worker, known))}


def _limits(worker: Worker, known: dict[str, Endpoint]) -> Iterator[Message]:
    tallies = worker.budget.tallies
    for tenant in sorted({tally.tenant for tally in tallies.values()} | set(worker.budget.departed)):
        bounds = worker.policy(tenant).limits
        for fill in worker.budget.fills_of_tenant(tenant, bounds):
            if fill.used or fill.scope is Scope.TENANT:
                yield _limit(tenant, fill, fill.of)
    for identity, tally in tallies.items():
        endpoint = known.get(identity)
        name = endpoint.name if endpoint else ""
        for fill in worker.budget.fills_of_container(identity, worker.policy(tally.tenant).limits):
            if fill.used:
                yield _limit(tally.tenant, fill, name or fill.of[:12])


def _limit(tenant: str, fill: Fill, name: str) -> Message:
    return {
        "tenant": tenant,
        "scope": str(fill.scope),
        "of": fill.of,
        "name": name,
        "measure": str(fill.measure),
        "used": fill.used,
        "limit": fill.limit,
    }


def _counts(tally: Tally) -> dict[str, int]:
    return {name: getattr(tally, name) for name in COUNTS}
