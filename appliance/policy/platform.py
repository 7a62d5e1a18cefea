"""What the broker asks for itself, for no tenant, as a policy: the servers that the operator's settings name.

They stand as token hosts of an account that no document can bind, of a tenant that nobody can be, so that
worker, resolver and broker judge them as they judge an account's: below the operator's denials, and in a
private range only where operator.yaml has an exception for `tenant: "@platform"`.
"""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from appliance.policy.bound import Bound, CompiledAccount
from appliance.policy.tenant import Profile, TenantPolicy
from appliance.workload import PLATFORM

if TYPE_CHECKING:
    from appliance.policy.compile import OperatorLayer
    from appliance.policy.rules import RuleIndex

ACCOUNT = "platform"


def platform_policy(
    hosts: frozenset[tuple[str, int]],
    operator: OperatorLayer,
    index: RuleIndex,
    generation: str,
    nat64_prefixes: tuple[IPv6Network, ...] = (),
) -> TenantPolicy:
    """A policy that lists nothing but `hosts` (canonical text, port); `index` are the operator's rules."""
    account = CompiledAccount(
        name=ACCOUNT,
        integration=ACCOUNT,
        title="What the broker itself asks",
        secret="",
        kinds=frozenset(),
        hosts=(),
        port=443,
        groups={},
        label="egress.yaml",
        token_hosts=hosts,
    )
    return TenantPolicy(
        PLATFORM,
        generation,
        profile=Profile.ALLOWLIST,
        operator=index,
        exceptions=operator.exceptions_of(PLATFORM),
        nat64_prefixes=nat64_prefixes,
        denied_addresses=operator.denied_addresses,
        bound=Bound.of([account], []),
    )
