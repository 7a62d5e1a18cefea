"""The denials that no single rule speaks, each with its sentence and what can be done about it."""

from __future__ import annotations

from dataclasses import replace

from appliance.addresses import Classification
from appliance.names import Host
from appliance.policy.caps import Caps, format_size
from appliance.policy.methods import METHODS, NEVER, READING
from appliance.policy.rules import Service, denied
from appliance.policy.verdict import Reason, RequestFacts, Verdict

WEBSOCKET = "websocket"
"""The only upgrade that a rule can allow (RFC 6455 section 4.1: by GET)."""

WEB: frozenset[Service] = frozenset({("https", 443), ("http", 80)})

_ASK_OPERATOR = "Ask the operator of this appliance; a tenant's own policy cannot change it."


def no_policy(tenant: str) -> Verdict:
    """The tenant is unknown, or its policy was never in order."""
    return denied(
        Reason.NO_POLICY, "no policy", f"No policy is loaded for tenant {tenant}.",
        "Ask the operator to add the tenant's policy, or to mend it (egress policy check).",
    )  # fmt: skip


def token_host_not_named(host: Host, account: str) -> Verdict:
    """Nobody but the operator says to whom a secret is shown, whatever address stands beside it."""
    return denied(
        Reason.TOKEN_HOST_NOT_NAMED, f"account {account}", f"{host} is none of this account's token hosts.",
        "Name it in the integration's token_hosts, or in the account's where the integration asks for them.",
    )  # fmt: skip


def unfit(facts: RequestFacts, caps: Caps, tenant: str) -> Verdict | None:
    """What no rule can allow, or no rule may stretch."""
    rule = f"caps of tenant {tenant}"
    if facts.method not in METHODS:
        reason = Reason.METHOD_NOT_ALLOWED if facts.method in NEVER else Reason.METHOD_UNKNOWN
        return denied(
            reason, "methods", f"Method {facts.method[:32]!a} is never sent on.",
            f"Use one of {', '.join(METHODS)}, in upper case.",
        )  # fmt: skip
    if facts.uri_bytes > caps.uri_bytes:
        return denied(
            Reason.URI_TOO_LONG, rule,
            f"The request target has {facts.uri_bytes} bytes; {format_size(caps.uri_bytes)} are allowed.",
            "Shorten it, or raise caps.uri in the tenant's policy.",
        )  # fmt: skip
    if facts.header_bytes > caps.header_bytes:
        return denied(
            Reason.HEADERS_TOO_LARGE, rule,
            f"The header has {facts.header_bytes} bytes; {format_size(caps.header_bytes)} are allowed.",
            "Send fewer or shorter fields, or raise caps.headers in the tenant's policy.",
        )  # fmt: skip
    if facts.upgrade is not None and (facts.method, facts.upgrade) != ("GET", WEBSOCKET):
        return denied(
            Reason.UPGRADE_NOT_ALLOWED, "methods", "The connection may not change its protocol.",
            "Send the request without an Upgrade field.",
        )  # fmt: skip
    # RFC 9110 §9.3.1: content of a GET has no meaning and is a known way to smuggle.
    if facts.method in READING and facts.has_body:
        return denied(
            Reason.BODY_NOT_ALLOWED, "methods", f"{facts.method} may carry no body.",
            "Send the request without a body.",
        )  # fmt: skip
    return None


def unmet_by(unmet: Reason, facts: RequestFacts, rule: str, tenant: str) -> Verdict:
    """The nearest rule, or the profile, does not allow this one thing about the request."""
    what = {
        Reason.PORT_NOT_ALLOWED: f"port {facts.port}",
        Reason.SCHEME_NOT_ALLOWED: f"{facts.scheme} on port {facts.port}",
        Reason.METHOD_NOT_ALLOWED: f"method {facts.method}",
        Reason.PATH_NOT_ALLOWED: f"path {facts.path[:200]!a}",
        Reason.QUERY_NOT_ALLOWED: "a query key of this request",
        Reason.UPGRADE_REQUIRED: "a request that opens no WebSocket",
        Reason.UPGRADE_NOT_ALLOWED: "opening a WebSocket",
        Reason.SUBPROTOCOL_NOT_ALLOWED: "a subprotocol that this WebSocket offers",
        Reason.BODY_NOT_ALLOWED: "a request body",
        Reason.CONTENT_TYPE_NOT_ALLOWED: f"content type {(facts.content_type or 'none')[:80]!a}",
        Reason.BODY_TOO_LARGE: f"a body of {facts.content_length} bytes",
    }[unmet]
    return denied(
        unmet, rule, f"For {facts.host}, {what} is not allowed.",
        f"If it is meant to be, allow it with a rule for this host in the policy of tenant {tenant}.",
    )  # fmt: skip


def unmet_by_account(unmet: Reason, facts: RequestFacts, rule: str, tenant: str) -> Verdict:
    """The host is an integration account's, and the nearest of its groups does not allow this one thing."""
    verdict = unmet_by(unmet, facts, rule, tenant)
    mend = (
        "Ask for what the groups of the integration account allow, or ask the operator (egress integration)."
    )
    return replace(verdict, mend=mend)


def host_is_address(host: Host) -> Verdict:
    """A literal address stands where a name belongs."""
    return denied(
        Reason.HOST_IS_ADDRESS, "addresses as hosts", f"{host} is a literal address, not a name.",
        "Use the host's name; an operator may except a private address in operator.yaml.",
    )  # fmt: skip


def name_not_public(host: Host) -> Verdict:
    """The name has no place in the public DNS."""
    return denied(
        Reason.NAME_NOT_PUBLIC, "special-use names", f"{host} is no name of the public DNS.", _ASK_OPERATOR
    )


def host_is_resolver(host: Host, rule: str) -> Verdict:
    """The host is a well-known DNS-over-HTTPS service."""
    return denied(
        Reason.HOST_IS_RESOLVER, rule, f"{host} resolves names over HTTPS, past the appliance's resolver.",
        "Use the container's own resolver, or allow the host by a rule.",
    )  # fmt: skip


def host_not_listed(host: Host, rule: str, tenant: str) -> Verdict:
    """The tenant has an allowlist without this host."""
    return denied(
        Reason.HOST_NOT_LISTED, rule, f"No rule of tenant {tenant} allows {host}.",
        f"Add a rule for {host} to the policy of tenant {tenant}, if it is meant to be reached.",
    )  # fmt: skip


def wrong_service(scheme: str | None, host: Host, port: int | None, rule: str) -> Verdict:
    """The host may be reached, but not by this scheme and port."""
    known = any(port == p for _, p in WEB)
    reason = Reason.SCHEME_NOT_ALLOWED if known and scheme else Reason.PORT_NOT_ALLOWED
    how = f"{scheme} on port {port}" if scheme else f"port {port}"
    return denied(
        reason, rule, f"For {host}, {how} is not allowed.",
        "Use https on port 443, or allow the port by a rule.",
    )  # fmt: skip


def address_denied(host: Host, address: object, network: object) -> Verdict:
    """The operator denies the range that the address is in."""
    return denied(
        Reason.ADDRESS_DENIED, "operator.yaml deny_addresses",
        f"{host} leads to {address}, and nobody may reach {network}.", _ASK_OPERATOR,
    )  # fmt: skip


def private_address(host: Host, found: Classification) -> Verdict:
    """The address is not public and nobody excepted it."""
    hidden = f" and hides {found.inner}" if found.inner else ""
    return denied(
        Reason.PRIVATE_ADDRESS, f"address table {found.block}",
        f"{host} leads to {found.address}, which is {found.kind}{hidden} ({found.source}).",
        "Use a host with public addresses; an operator may except a private range in operator.yaml.",
    )  # fmt: skip
