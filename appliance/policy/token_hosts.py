"""Where an account's secret is exchanged for a token: which hosts those are, and who may be connected there.

The broker alone is, for that account alone: a request of a container to the same host is judged like any
other. The operator's denials stand above, and so does what may be said of addresses; the tenant's own policy
has no word, as for the account's other hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.names import Host, HostName
from appliance.policy.accounts import AccountDocument
from appliance.policy.definition import DefinitionDocument
from appliance.policy.denials import host_is_address, no_policy, token_host_not_named
from appliance.policy.hosts import HostPattern
from appliance.policy.problems import Problem
from appliance.policy.rules import allowed
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import Reason, RequestFacts, Verdict
from appliance.yamldoc import Document, Path_


def token_hosts_of(
    document: Document,
    place: Path_,
    written: AccountDocument,
    definition: DefinitionDocument,
    hosts: Mapping[str, Sequence[HostPattern]],
) -> tuple[frozenset[tuple[str, int]], list[Problem]]:
    """Host and port of each: the definition's; where it asks, the account's, or its own `hosts`."""
    if definition.token_host is None:
        problems = []
        if written.token_hosts is not None:
            message = f"{definition.name} does not ask for token_hosts"
            problems.append(Problem(document.at((*place, "token_hosts")), message, "leave them out"))
        return frozenset((named.host, named.port) for named in definition.token_hosts or ()), problems
    if written.token_hosts is not None:
        return frozenset((named.host, named.port) for named in written.token_hosts), []
    own = (pattern for patterns in hosts.values() for pattern in patterns if not pattern.below)
    return frozenset((pattern.name, definition.port) for pattern in own), []


def judge_token_host(policy: TenantPolicy, account: str, host: Host, port: int | None) -> Verdict:
    """Whether the broker may be connected to `host` for the account, by https.

    `port` None asks whether it may be on any (the resolver does not know the port). Its addresses are another
    question: `TenantPolicy.judge_address`.
    """
    if policy.profile is None:
        return no_policy(policy.tenant)
    if not isinstance(host, HostName):
        return host_is_address(host)
    for bucket in policy.layers[0].find(host.text):
        for rule in bucket.denies:
            if rule.blocks("https", port):
                return rule.verdict
    bound = policy.account(account)
    if bound is None or not any(
        name == host.text and port in (None, named) for name, named in bound.token_hosts
    ):
        return token_host_not_named(host, account)
    return allowed(Reason.ALLOWED_BY_INTEGRATION, bound.label, f"The secret of {account} is exchanged there.")


def judge_exchange(policy: TenantPolicy, account: str, facts: RequestFacts) -> Verdict:
    """Whether the broker may send this request for the account; ALLOW implies that of `judge_token_host`."""
    if isinstance(facts.host, HostName):
        for bucket in policy.layers[0].find(facts.host.text):
            for rule in bucket.denies:
                if rule.matches(facts):
                    return rule.verdict
    return judge_token_host(policy, account, facts.host, facts.port)
