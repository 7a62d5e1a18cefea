"""What the operator sees of handles: how many live where, never which."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.broker.handles import Bound, Handles
from appliance.control import Operation, Peer
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
