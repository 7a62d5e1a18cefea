"""Whether everything came back after a reboot, and in which order: by times that systemd and Docker recorded."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.provision import witness, workload
from tests.provision.commands import Failed

if TYPE_CHECKING:
    from tests.provision.target import Target

BACK_WITHIN = 180.0


def units(target: Target) -> list[str]:
    """The services of the appliance's target, as systemd has them."""
    wanted = target.run("systemctl", "show", "--property=Wants", "--value", "egress.target").out.split()
    return sorted(unit for unit in wanted if unit.endswith(".service"))


def await_active(target: Target) -> None:
    """Until every unit of the appliance and Docker are active. Raises `Failed` naming those that are not."""
    deadline = time.monotonic() + BACK_WITHIN
    waiting = ["all"]
    while time.monotonic() < deadline:
        wanted = [*units(target), "docker.service"]
        states = target.run("systemctl", "is-active", *wanted, check=False).out.split()
        waiting = [unit for unit, state in zip(wanted, states, strict=True) if state != "active"]
        if not waiting:
            return
        time.sleep(0.3)
    raise Failed(f"not active within {BACK_WITHIN:.0f} s: {', '.join(waiting)}")


def active_since(target: Target, unit: str) -> datetime:
    """When a unit became active: for one that notifies, when it said that it is ready."""
    said = target.run(
        "systemctl", "show", "--timestamp=us+utc", "--property=ActiveEnterTimestamp", "--value", unit
    ).out.strip()
    return datetime.strptime(said.removesuffix(" UTC"), "%a %Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    """Docker's RFC 3339 with nanoseconds."""
    return datetime.fromisoformat(text[:26].rstrip("Z")).replace(tzinfo=UTC)


def enforced_before_containers(target: Target) -> str:
    """All processes ready before the container ran, and nothing that it may not send got out since the boot.

    Raises `Failed`. The witness at the origin starts before the appliance, so that it misses nothing.
    """
    await_active(target)
    started = moment(workload.started_once(target))
    ready = {unit: active_since(target, unit) for unit in units(target)}
    late = [unit for unit, since in ready.items() if since >= started]
    if late:
        raise Failed(f"the container started at {started} before these were ready: {', '.join(late)}")
    last = max(ready, key=lambda unit: ready[unit])
    before = workload.asked(target, target.booted(), ready[last].timestamp())
    if before.good or before.bad or before.trespasses:
        raise Failed(f"the container ran since the boot and before {last} was ready: {before}")
    looking = witness.start(target)
    if looking.began >= min(ready.values()).timestamp():
        raise Failed("the witness was not there first")
    deadline = time.monotonic() + 30
    since_boot = workload.asked(target, started.timestamp())
    while time.monotonic() < deadline and not (since_boot.good and since_boot.trespasses):
        time.sleep(0.5)
        since_boot = workload.asked(target, started.timestamp())
    if not since_boot.good or not since_boot.trespasses:
        raise Failed(f"the container does not work after the boot: {since_boot}")
    witness.nothing_got_out(target, looking)
    margin = (started - ready[last]).total_seconds()
    first = since_boot.good[0][1] - started.timestamp()
    return (
        f"{len(ready)} units ready, the last ({last}) {margin:.2f} s before the container started; its first answer "
        f"after {first:.2f} s; {since_boot.trespasses} forbidden packets sent, none seen at the origin"
    )
