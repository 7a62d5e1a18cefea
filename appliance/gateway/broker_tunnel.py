"""A workload's TLS with the broker: passed on unread, with our word before it on whose it is.

Who the workload is, its certificate says to the broker, inside; which link it speaks over, only we can say.
"""

from __future__ import annotations

from typing import Any

from appliance.gateway.handing_over import tunnel_attestation
from appliance.gateway.passthrough import Passthrough
from appliance.handover import HANDED_OVER_SECONDS
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import Reason


class BrokerTunnel(Passthrough):
    """No policy is asked: whom the broker serves is the broker's to say. It counts like any other tunnel."""

    reason = Reason.ALLOWED_BY_APPLIANCE

    async def _reach(self) -> Any:
        caller, generation = self._connection.caller, self._policy().generation
        transport = await self._worker.reach_broker()
        transport.write(tunnel_attestation(caller, self._id, generation, self._worker.number))
        return transport

    def _allowed(self, policy: TenantPolicy) -> bool:
        del policy
        return True

    def _idle_seconds(self) -> float:
        """A call may be under way in it."""
        return HANDED_OVER_SECONDS
