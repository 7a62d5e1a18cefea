"""The `reload` operation on the control socket of a process that holds policies."""

from __future__ import annotations

from appliance.control import ControlError, Operation, Peer
from appliance.ipc import Message
from appliance.policy.reloads import Reloads


def reload_operation(reloads: Reloads) -> Operation:
    """Read the policies now; root only. Answers `{policy: generation}`, or refuses with `policy-invalid`.

    After a refusal the last good policy is in force, as after a change of the files.
    """

    async def reload(_message: Message, _peer: Peer) -> Message:
        current = await reloads.ask()
        error = reloads.store.last_error
        if error is not None:
            raise ControlError("policy-invalid", str(error))
        return {"policy": current.generation}

    return Operation(reload)
