"""`limits:` of a tenant's document, under the operator's ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.policy.caps import format_size
from appliance.policy.documents import LimitsDocument, OperatorLimitsDocument, ScopeLimitsDocument
from appliance.policy.limits import (
    DEFAULT_CEILINGS,
    DEFAULT_LIMITS,
    KERNEL_BOUNDS,
    PATHS,
    Path,
    TenantLimits,
    from_values,
    value_at,
)
from appliance.policy.problems import Problem, Severity
from appliance.yamldoc import Document


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """What operator.yaml says: ceilings of all tenants; for one tenant, its ceilings and its defaults."""

    ceilings: Mapping[Path, int] = field(default_factory=dict)
    tenants: Mapping[str, Mapping[Path, int]] = field(default_factory=dict)
    window_seconds: int = DEFAULT_LIMITS.window_seconds


def compile_operator_limits(
    document: Document, written: OperatorLimitsDocument | None
) -> tuple[OperatorLimits, list[Problem]]:
    """The operator's layer of limits. A value above what the kernel lets through is an error."""
    if written is None:
        return OperatorLimits(), []
    ceilings = _written(written)
    tenants = {tenant: _written(limits) for tenant, limits in (written.tenants or {}).items()}
    problems = _too_high(document, ("limits",), ceilings)
    for tenant, values in tenants.items():
        problems += _too_high(document, ("limits", "tenants", tenant), values)
    window_seconds = written.window_seconds or DEFAULT_LIMITS.window_seconds
    return OperatorLimits(ceilings, tenants, window_seconds), problems


def compile_limits(
    document: Document, written: LimitsDocument | None, tenant: str, operator: OperatorLimits
) -> tuple[TenantLimits, list[Problem]]:
    """The tenant's limits. A value above its ceiling is an error; a default above it bows to it."""
    own = {} if written is None else _written(written)
    special = operator.tenants.get(tenant, {})
    values: dict[Path, int] = {}
    problems: list[Problem] = []
    for path in PATHS:
        ceiling = special.get(path, operator.ceilings.get(path, value_at(DEFAULT_CEILINGS, path)))
        wanted = own.get(path, special.get(path, value_at(DEFAULT_LIMITS, path)))
        if wanted > ceiling and path in own:
            problems.append(
                Problem(
                    document.at(("limits", *path)),
                    f"limits.{'.'.join(path)}: {_shown(path, wanted)} is above the operator's ceiling",
                    f"write {_shown(path, ceiling)} or less",
                )
            )
        values[path] = min(wanted, ceiling)
    problems += [_idle(document, path, values) for path in own if _is_idle(path, values)]
    return from_values(values, operator.window_seconds), problems


def _too_high(document: Document, place: Path, values: Mapping[Path, int]) -> list[Problem]:
    return [
        Problem(
            document.at((*place, *path)),
            f"{'.'.join((*place, *path))}: {_shown(path, values[path])} is more than the kernel lets through",
            f"write {_shown(path, bound)} or less",
        )
        for path, bound in KERNEL_BOUNDS.items()
        if values.get(path, 0) > bound
    ]


def _is_idle(path: Path, values: Mapping[Path, int]) -> bool:
    """Whether a bound of a part lies above the tenant's own, which is always reached first."""
    return path[0] in ("container", "destination") and values[path] > values["tenant", path[1]]


def _idle(document: Document, path: Path, values: Mapping[Path, int]) -> Problem:
    whole = _shown(path, values["tenant", path[1]])
    return Problem(
        document.at(("limits", *path)),
        f"limits.{'.'.join(path)} never takes effect: the whole tenant has {whole}",
        f"write {whole} or less, or raise limits.tenant.{path[1]}",
        Severity.WARNING,
    )


def _written(limits: LimitsDocument) -> dict[Path, int]:
    """The values that a document names, by path."""
    found = {}
    for path in PATHS:
        value: object = limits
        for key in path:
            value = getattr(value, key) if isinstance(value, LimitsDocument | ScopeLimitsDocument) else None
        if isinstance(value, int):
            found[path] = value
    return found


def _shown(path: Path, value: int) -> str:
    return format_size(value) if path[-1].startswith("bytes") else str(value)
