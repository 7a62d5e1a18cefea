"""Whether systemd runs the instance, by the units of `egress units`; then `egress up` and `down` keep off."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.failures import Failure
from appliance.processes import processes
from appliance.units.render import service_name, target_name

if TYPE_CHECKING:
    from appliance.settings import Settings

BOOTED = Path("/run/systemd/system")
"""There where systemd is the init system (sd_booted(3))."""
WITHIN = 10.0  # seconds
AT_REST = frozenset({"", "inactive", "failed"})


def governs(settings: Settings) -> bool:
    """Whether the instance's target, or netd's unit, is active or on the way there or back."""
    if not BOOTED.is_dir():
        return False
    names = (target_name(settings), service_name(settings, "netd"))
    try:
        done = subprocess.run(
            ["systemctl", "show", "--property=ActiveState", "--value", *names],
            capture_output=True, text=True, timeout=WITHIN, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(
            f"systemd does not say whether it runs the instance: {error}; mend that first"
        ) from error
    return not AT_REST.issuperset(done.stdout.split("\n"))


def keep_off(settings: Settings, verb: str) -> None:
    """Raise `Failure` with the command that does it, `systemctl start` or `stop`, where systemd governs."""
    if governs(settings):
        target = target_name(settings)
        said = f"systemctl {verb} {target}; see: egress status"
        if verb == "stop":
            # A target has gone before its services have, and systemctl waits for what it names. A pattern
            # would name another instance's, too: `egress-*` those of `egress-b`.
            services = " ".join(service_name(settings, process.name) for process in processes(settings))
            said = f"systemctl stop {target} {services}, then: egress down"
        raise Failure(f"systemd runs instance {settings.instance!r}: {said}")
