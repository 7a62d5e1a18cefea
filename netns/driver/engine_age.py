"""How long dockerd has been running, as the kernel tells."""

from __future__ import annotations

import os
import time
from pathlib import Path

from appliance.docker_root import engine_pid
from appliance.settings import DockerSettings

WITHIN = 0.2  # seconds: a full queue at the socket is no reason to wait


def age_of_engine(docker: DockerSettings) -> float | None:
    """Seconds since dockerd started; None when that cannot be told."""
    try:
        pid = engine_pid(docker, WITHIN)
    except OSError:
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
