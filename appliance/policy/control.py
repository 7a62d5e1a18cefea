"""The `reload` operation on the control socket of a process that holds policies."""

from __future__ import annotations

from appliance.control import ControlError, Operation, Peer
from appliance.ipc import Message
from appliance.policy.loader import PolicyStore


def reload_operation(store: PolicyStore) -> Operation:
    """Read the policies now; root only. Answers `{policy: generation}`, or refuses with `policy-invalid`.

    After a refusal the last good policy is in force, as after a change of the files.
    """

    def reload(_message: Message, _peer: Peer) -> Message:
        current = store.reload()
        if store.last_error is not None:
            raise ControlError("policy-invalid", str(store.last_error))
        return {"policy": current.generation}

    return Operation(reload)
