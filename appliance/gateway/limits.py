"""Bounds of a worker itself: how many connections, how long for each step, how much held in memory.

What a container or tenant may have is policy (caps and limits in `appliance.policy`), not here. `turned_away`
is how many refused connections at a time are given the time to read why (see `places`). Of a flood of one
container `told.per_second` are recorded and, where there is a place, told so; the others are reset and
counted. `told` is also how many refusals of a container and of its tenant are recorded one by one
(`appliance.telling`). `turn_seconds` is a tenant's share of one turn of the reactor (see `turns`). Zero is
never "unlimited".
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.telling import Bounds

TOLD = Bounds()
"""Those of `appliance.telling`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, seconds and bytes of one worker."""

    connections: int = 8192
    turned_away: int = 256
    told: Bounds = TOLD
    turn_seconds: float = 0.01
    first_bytes_seconds: float = 10.0
    handshake_seconds: float = 10.0
    head_seconds: float = 15.0
    keep_alive_seconds: float = 75.0
    request_idle_seconds: float = 60.0
    connect_seconds: float = 10.0
    response_head_seconds: float = 120.0
    response_idle_seconds: float = 120.0
    tunnel_idle_seconds: float = 300.0
    connection_seconds: float = 6 * 3600.0
    pooled_idle_seconds: float = 30.0
    closing_seconds: float = 5.0
    half_closed_seconds: float = 10.0
    drain_seconds: float = 20.0
    buffered_bytes: int = 64 * 1024
    pooled_per_target: int = 32
    pooled_per_tenant: int = 256
    pooled: int = 1024
    addresses_tried: int = 3


DEFAULT_LIMITS = Limits()
