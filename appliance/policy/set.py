"""Every tenant's policy at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from types import MappingProxyType

from appliance.policy.tenant import TenantPolicy
from appliance.workload import PLATFORM


@dataclass(frozen=True, slots=True)
class PolicySet:
    """What is enforced: `generation` changes with every byte of any document.

    `denied` are the ranges that no tenant may reach.
    """

    tenants: Mapping[str, TenantPolicy] = field(default_factory=lambda: MappingProxyType({}))
    generation: str = "none"
    denied: tuple[IPv4Network, ...] = ()
    platform: TenantPolicy | None = None

    def for_tenant(self, tenant: str) -> TenantPolicy:
        """The tenant's policy; for a tenant without one, a policy that denies everything.

        That of `PLATFORM` is for what the broker asks for itself (see `platform`).
        """
        if tenant == PLATFORM:
            return self.platform or TenantPolicy(PLATFORM)
        return self.tenants.get(tenant) or TenantPolicy(tenant)
