"""What `systemd-analyze security` says of each unit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.provision.boot import units
from tests.provision.commands import Failed

if TYPE_CHECKING:
    from tests.provision.target import Target

MOST = 2.0
BOUND = ("gateway", "resolver", "broker", "squid")
"""Kinds of process whose exposure is at most `MOST`; netd's is what is left (see `appliance/units/sandbox.py`)."""


def exposures(target: Target) -> dict[str, float]:
    """The overall exposure level of each unit. Raises `Failed`."""
    found = {}
    for unit in units(target):
        said = target.run("systemd-analyze", "security", "--no-pager", unit, check=False).out
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        if level is None:
            raise Failed(f"systemd-analyze says nothing of {unit}: {said[-200:]!r}")
        found[unit] = float(level[1])
    return found


def within_bounds(target: Target) -> str:
    """All levels as text. Raises `Failed` where one is above what it may be."""
    found = exposures(target)
    text = ", ".join(f"{unit.removesuffix('.service')} {level}" for unit, level in found.items())
    kinds = {kind: [unit for unit in found if f"-{kind}" in unit] for kind in BOUND}
    missing = [kind for kind, of_kind in kinds.items() if not of_kind]
    above = [unit for of_kind in kinds.values() for unit in of_kind if found[unit] > MOST]
    if missing or above:
        raise Failed(f"above {MOST}: {above or 'none'}; without a unit: {missing or 'none'}; {text}")
    return text
