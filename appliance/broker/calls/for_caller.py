"""A call that no container makes: for a caller that has proved itself to the broker.

No worker can claim one: what a worker says is read as a plain `Attestation` (`handover.parse_attestation`),
and only the broker makes the class here. A group of an account is for callers that hold each of its scopes.
A group without scopes is for those that hold `<integration>:<risk>`, for example `openai:write`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.broker.calls import refusals
from appliance.broker.identity.actors import Caller
from appliance.handover import Attestation
from appliance.policy.bound import CompiledAccount, CompiledGroup
from appliance.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerAttestation(Attestation):
    """Whose call it is: no link, so `endpoint`, `container` and `run` are empty, and `source` names the uid.

    `refusal` says why the caller may go on no more: ended, revoked, expired; None while it may.
    """

    caller: Caller
    refusal: Callable[[], Refusal | None]


def principal_of(attestation: Attestation) -> str | None:
    """Who called, where it was no container."""
    return attestation.caller.principal if isinstance(attestation, CallerAttestation) else None


def needed(account: CompiledAccount, group: CompiledGroup) -> frozenset[str]:
    """Scopes without which no caller has the group; never none."""
    return frozenset(group.scopes or (f"{account.integration}:{group.risk}",))


def scope_refusal(attestation: Attestation, account: CompiledAccount, group: CompiledGroup) -> Refusal | None:
    """Whether the caller's own scopes allow the group. A container has what its tenant's accounts allow."""
    if not isinstance(attestation, CallerAttestation):
        return None
    missing = needed(account, group) - attestation.caller.scopes
    if not missing:
        return None
    return refusals.denied(
        403, "scope-missing", f"The caller does not have the scope {min(missing)}.",
        "Ask the operator for a key or token with that scope.",
    )  # fmt: skip
