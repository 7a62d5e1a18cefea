"""May this name be asked, may this answer be used? Policy and facts in, a `Declined` or None out."""

from __future__ import annotations

from ipaddress import IPv4Address

import dns.edns
import dns.rcode

from appliance.audit.record import Outcome
from appliance.names import HostName, InvalidName
from appliance.policy.hosts import is_special_use
from appliance.policy.tenant import TenantPolicy
from appliance.policy.token_hosts import judge_token_host
from appliance.policy.verdict import Reason, Verdict
from appliance.resolver.outcome import Absent, Declined, Unusable

_EDE = dns.edns.EDECode
_LINK_REASONS = frozenset({Reason.HOST_DENIED_BY_OPERATOR, Reason.NAME_NOT_PUBLIC})


def judge_name(policy: TenantPolicy, name: HostName, account: str | None = None) -> Declined | None:
    """Whether the tenant may have `name` resolved at all. Nothing of a declined name leaves (attack B3).

    With an `account` the broker asks, which exchanges that account's secret there.
    """
    verdict = policy.judge_name(name) if account is None else judge_token_host(policy, account, name, None)
    return None if verdict.allowed else _by_rule(verdict)


def judge_links(policy: TenantPolicy, name: HostName, links: tuple[HostName, ...]) -> Declined | None:
    """Whether an alias of `name` may pass through these names.

    A tenant's list names what its code asks for, not the hosts that a provider hides behind: an alias is held
    only to what nobody may reach (the operator's denials, names that are not public). Its addresses are
    judged like any other. A name inside the operator's own network, once excepted, may lead to its like.
    """
    forbidden = _LINK_REASONS - {Reason.NAME_NOT_PUBLIC} if is_special_use(name) else _LINK_REASONS
    for link in links:
        verdict = policy.judge_name(link)
        if not verdict.allowed and verdict.reason in forbidden:
            return _by_rule(verdict)
    return None


def judge_addresses(
    policy: TenantPolicy, name: HostName, addresses: tuple[IPv4Address, ...], own: frozenset[IPv4Address]
) -> Declined | None:
    """Whether *every* address may be given to the tenant; one that may not spoils the set (attack B7).

    `own` are the gateway's addresses. An operator's exception admits an address here whatever its port: the
    dial judges the port.
    """
    for address in addresses:
        if address in own:
            return Declined(
                Outcome.DENIED,
                Reason.PRIVATE_ADDRESS.value,
                "the gateway's own addresses",
                f"{name} leads to {address}, which is the gateway itself",
                dns.rcode.SERVFAIL,
                _EDE.BLOCKED,
            )
        verdict = policy.judge_address(name, None, address)
        if not verdict.allowed:
            return Declined(
                Outcome.DENIED,
                verdict.reason.value,
                verdict.rule,
                verdict.detail,
                dns.rcode.SERVFAIL,
                _EDE.BLOCKED,
            )
    return None


def declined_invalid(error: InvalidName) -> Declined:
    """The asked name is no host name."""
    detail = f"the name is no host name: {error.detail}"
    return Declined(Outcome.DENIED, error.reason, None, detail, dns.rcode.REFUSED, _EDE.PROHIBITED)


def declined_type(kind: str) -> Declined:
    """A type that we never answer. AAAA, HTTPS and SVCB are not among them: they have an empty answer."""
    detail = f"records of type {kind} are not resolved here; ask for A"
    return Declined(Outcome.DENIED, "type-not-answered", None, detail, dns.rcode.REFUSED, _EDE.NOT_SUPPORTED)


def declined_absent(result: Absent) -> Declined:
    """Upstream knows the name but no address of it, or not even the name."""
    if result.exists:
        return Declined(
            Outcome.FAILED,
            "name-has-no-address",
            None,
            "the name has no IPv4 address",
            dns.rcode.NOERROR,
            None,
        )
    return Declined(
        Outcome.FAILED, "name-does-not-exist", None, "the name does not exist", dns.rcode.NXDOMAIN, None
    )


def declined_unusable(result: Unusable) -> Declined:
    """Upstream failed."""
    return failed(result.reason, result.detail, _EDE.NO_REACHABLE_AUTHORITY)


def failed(reason: str, detail: str, error: dns.edns.EDECode) -> Declined:
    """Nothing was decided against the name, but there is no answer."""
    return Declined(Outcome.FAILED, reason, None, detail, dns.rcode.SERVFAIL, error)


AUDIT_DOWN = failed("audit-unavailable", "decisions cannot be recorded", _EDE.NOT_READY)
"""Nothing that cannot be recorded is answered."""


def _by_rule(verdict: Verdict) -> Declined:
    by_operator = verdict.reason is Reason.HOST_DENIED_BY_OPERATOR
    # RFC 8914 §4.16, §4.18: "Blocked" is the operator's list, "Filtered" is what the asker's side wished.
    error = _EDE.BLOCKED if by_operator else _EDE.FILTERED
    return Declined(
        Outcome.DENIED, verdict.reason.value, verdict.rule, verdict.detail, dns.rcode.REFUSED, error
    )
