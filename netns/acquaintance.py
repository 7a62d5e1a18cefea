"""Which processes netd takes for the appliance's own: those that listen on its control sockets.

A uid does not tell: whatever has come to run under a worker's uid has it too. The launcher opens each control
socket in a directory of root's before it drops its privileges, so who listens there was started by it.
"""

from __future__ import annotations

from appliance.listeners import listening_pid
from appliance.processes import processes
from appliance.settings import Settings

WITHIN = 0.2  # seconds: netd waits for nobody


class Acquaintance:
    """Asks the kernel anew each time, for a process may have been started anew."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def knows(self, pid: int, uid: int) -> bool:
        """Whether `pid` listens on the control socket of a process of ours that runs as `uid`."""
        return any(
            listening_pid(str(self._settings.control_socket(process.name)), WITHIN) == pid
            for process in processes(self._settings)
            if process.uid == uid
        )
