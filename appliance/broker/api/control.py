"""What the operator asks of the broker about workloads: for root alone.

| operation          | fields               | answer                                                         |
|--------------------|----------------------|----------------------------------------------------------------|
| `handle-list`      |                      | `handles`: how many live where, and how old, never which       |
| `workload-disable` | `tenant`, `workload` | its certificates count no more; sessions, handles, calls end   |
| `workload-enable`  | the same             | `was_disabled`; certificates that have not ended count again   |

A workload is named as in its certificate: by its container's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from appliance.audit.log import AuditLog, AuditUnavailable
from appliance.audit.record import LifecycleRecord
from appliance.broker.calls.secrets import InThread
from appliance.broker.denied import Denied
from appliance.broker.handles import Bound, Handles
from appliance.broker.identities import Identities
from appliance.broker.identity.spiffe import InvalidSpiffeId, WorkloadId
from appliance.control import ControlError, Operation, Peer
from appliance.endpoints import EndpointTable
from appliance.ipc import Message


class HandleControl:
    """Operations of the control socket, for root."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def operations(self) -> Mapping[str, Operation]:
        """`handle-list` → `handles`: for each tenant, endpoint and account, how many and how old."""
        return {"handle-list": Operation(self.list)}

    def list(self, message: Message, peer: Peer) -> Message:
        """See `operations`."""
        del message, peer
        ages: dict[Bound, list[float]] = {}
        for bound, age in self._handles.live():
            ages.setdefault(bound, []).append(age)
        return {
            "handles": [
                {
                    "tenant": bound.tenant,
                    "endpoint": bound.execution,
                    "account": bound.account,
                    "live": len(of_it),
                    "oldest_seconds": round(max(of_it), 1),
                }
                for bound, of_it in sorted(
                    ages.items(), key=lambda item: (item[0].tenant, item[0].execution, item[0].account)
                )
            ]
        }


class WorkloadControl:
    """Operations of the control socket, for root; each on record before it takes effect."""

    def __init__(
        self,
        identities: Identities,
        endpoints: EndpointTable,
        disabled: Callable[[str], None],
        audit: AuditLog,
        *,
        in_thread: InThread,
        now: Callable[[], datetime],
    ) -> None:
        """`disabled` hears of each endpoint of a workload that was."""
        self._identities = identities
        self._endpoints = endpoints
        self._disabled = disabled
        self._audit = audit
        self._in_thread = in_thread
        self._now = now

    def operations(self) -> Mapping[str, Operation]:
        """See the module."""
        return {
            "workload-disable": Operation(self.disable),
            "workload-enable": Operation(self.enable),
        }

    async def disable(self, message: Message, peer: Peer) -> Message:
        """See the module. Raises `ControlError`."""
        del peer
        who = self._named(message)
        await self._recorded("workload-disabled", who, self._disable, who)
        for endpoint in self._endpoints:
            if endpoint.tenant == who.tenant and who.workload in {endpoint.container, endpoint.id}:
                self._disabled(endpoint.id)
        return {"workload": who.workload}

    async def enable(self, message: Message, peer: Peer) -> Message:
        """See the module. Raises `ControlError`."""
        del peer
        who, workloads = self._named(message), self._identities.workloads
        found = await self._recorded("workload-enabled", who, workloads.enable, who.tenant, who.workload)
        return {"workload": who.workload, "was_disabled": found}

    def _disable(self, who: WorkloadId) -> None:
        now = self._now()
        self._identities.workloads.disable(who.tenant, who.workload, now)
        self._identities.sessions.revoke_workload(who, now)

    def _named(self, message: Message) -> WorkloadId:
        tenant, workload = message.get("tenant"), message.get("workload")
        if isinstance(tenant, str) and isinstance(workload, str):
            try:
                return WorkloadId(self._identities.root.instance, tenant, workload)
            except InvalidSpiffeId as error:
                raise ControlError("invalid-request", str(error)) from error
        raise ControlError("invalid-request", "`tenant` and `workload` must be names")

    async def _recorded(
        self, event: str, who: WorkloadId, act: Callable[..., object], *arguments: object
    ) -> object:
        try:
            self._audit.write(LifecycleRecord(event=event, subject=who.workload, tenant=who.tenant))
            return await self._in_thread(act, *arguments)
        except AuditUnavailable as error:
            raise ControlError("audit-unavailable", str(error)) from error
        except (SQLAlchemyError, Denied) as error:
            raise ControlError("store-unavailable", "the broker's database does not answer") from error
