"""How long dockerd has been running, as the kernel tells."""

from __future__ import annotations

import os
import time
from pathlib import Path

from appliance.listeners import listening_pid

WITHIN = 0.2  # seconds: a full queue at the socket is no reason to wait


_INIT = 1
PID_FILE = "/var/run/docker.pid"
"""Where dockerd writes its pid, in its own file system, unless told otherwise."""


def age_of_engine(socket: Path, pid_file: Path) -> float | None:
    """Seconds since dockerd started; None when that cannot be told.

    It is the process that listens on `socket`; where systemd does that for it (socket activation), the one
    that dockerd's `pid_file` names.
    """
    try:
        pid = listening_pid(str(socket), WITHIN)
        if pid == _INIT:
            pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if pid is None else age(pid)


def age(pid: int) -> float | None:
    """Seconds since a process started, None when there is none: proc(5), /proc/PID/stat, field 22."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
