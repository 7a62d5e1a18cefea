"""Who listens on a Unix socket, and how to end that process: no pid file that can be stale."""

from __future__ import annotations

import os
import signal
import socket
import time

from appliance.peer import peer_credentials

STOP_WITHIN = 25.0  # seconds between SIGTERM and SIGKILL: longer than a gateway's drain


def listening_pid(path: str, within: float = 2.0) -> int | None:
    """Pid of the process that listens on a Unix socket, or None when nobody does.

    SO_PEERCRED of a connected client names the process that called listen(2) (unix(7)); the launcher calls it
    and then execs, so the answer is the process itself. `within` bounds, in seconds, the wait for a place
    in a full queue. Raises `PermissionError` when the caller may not ask.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(within)
        try:
            probe.connect(path)
        except PermissionError as error:
            raise PermissionError(error.errno, error.strerror, path) from error
        except OSError:
            return None
        return peer_credentials(probe).pid or None


def stop_process(pid: int, within: float = STOP_WITHIN) -> None:
    """End one process: SIGTERM, then SIGKILL after `within` seconds. A process already gone is fine."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            time.sleep(0.05)
            signal.pidfd_send_signal(handle, 0)
            if is_zombie(pid):
                return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, waited for or not (proc(5), field 3 of stat)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123 - procfs
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
