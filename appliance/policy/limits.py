"""How much, how fast, how long: the bounds of a container, of a tenant, and of a tenant at one destination.

They bound what a permitted use may amount to; what is permitted, the rules say. Rates are of any second, byte
counts of any window of `window_seconds`. No bound can be absent, and 0 is no bound but an error.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

GIB = 2**30
TIB = 2**40


@dataclass(frozen=True, slots=True)
class ScopeLimits:
    """Bounds of one scope. `bytes_out` go to servers, `bytes_in` come from them, heads included."""

    connections: int
    new_connections_per_second: int
    requests_per_second: int
    bytes_out: int
    bytes_in: int


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """All bounds of one tenant. `destination`: one host and port; its connections are exchanges under way.

    `frames_per_second` are those of one container's WebSockets together, both ways: bytes alone would not
    bound what the smallest frames cost.
    """

    container: ScopeLimits = ScopeLimits(512, 100, 200, 1 * GIB, 50 * GIB)
    tenant: ScopeLimits = ScopeLimits(2048, 400, 1000, 10 * GIB, 200 * GIB)
    destination: ScopeLimits = ScopeLimits(512, 100, 500, 2 * GIB, 100 * GIB)
    queries_per_second: int = 500
    frames_per_second: int = 5000
    tunnel_seconds: int = 6 * 3600
    window_seconds: int = 3600


Path = tuple[str, ...]
"""Keys of one bound below `limits:`."""

_SCOPES = ("container", "tenant", "destination")
PATHS: tuple[Path, ...] = (
    *((scope, field.name) for scope in _SCOPES for field in fields(ScopeLimits)),
    ("queries_per_second",),
    ("frames_per_second",),
    ("tunnel_seconds",),
)

DEFAULT_LIMITS = TenantLimits()

KERNEL_CONNECTION_RATE = 400
"""New TCP connections a second of one container that the kernel lets through: a flood dies there, at the
cost of a look-up a packet, before it costs the gateway an accept. No policy can promise more."""

KERNEL_BOUNDS: dict[Path, int] = {("container", "new_connections_per_second"): KERNEL_CONNECTION_RATE}
"""What operator.yaml cannot raise: beyond it packets are dropped, and nobody hears why."""

# What a tenant's own document may ask for at most, unless operator.yaml says otherwise.
DEFAULT_CEILINGS = TenantLimits(
    container=ScopeLimits(4096, KERNEL_CONNECTION_RATE, 5000, 100 * GIB, 10 * TIB),
    tenant=ScopeLimits(8192, 4000, 20000, 1 * TIB, 100 * TIB),
    destination=ScopeLimits(8192, 4000, 20000, 1 * TIB, 100 * TIB),
    queries_per_second=5000,
    frames_per_second=50000,
    tunnel_seconds=24 * 3600,
)


def value_at(limits: TenantLimits, path: Path) -> int:
    """The bound that `path` names."""
    found: object = limits
    for key in path:
        found = getattr(found, key)
    assert isinstance(found, int)
    return found


def from_values(values: dict[Path, int], window_seconds: int) -> TenantLimits:
    """Limits from a value for each of `PATHS`."""
    scopes = {
        scope: ScopeLimits(**{field.name: values[scope, field.name] for field in fields(ScopeLimits)})
        for scope in _SCOPES
    }
    return TenantLimits(
        **scopes,
        queries_per_second=values["queries_per_second",],
        frames_per_second=values["frames_per_second",],
        tunnel_seconds=values["tunnel_seconds",],
        window_seconds=window_seconds,
    )
