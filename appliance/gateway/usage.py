"""What the containers of a worker have had so far: the answer to `usage` on its control socket.

`{"endpoints": [{id, tenant, container, name, address, connections, rate, …counts}], "departed":
[{tenant, …counts}]}`. Counts are since the worker knows the endpoint; `rate` is requests in the last second;
`departed` sums up, by tenant, the containers that have left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.ipc import Message

if TYPE_CHECKING:
    from appliance.gateway.worker import Worker
    from appliance.limits.budget import Tally

COUNTS = ("requests", "denied", "throttled", "bytes_out", "bytes_in", "signals")


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
    return {"endpoints": listed, "departed": departed}


def _counts(tally: Tally) -> dict[str, int]:
    return {name: getattr(tally, name) for name in COUNTS}
