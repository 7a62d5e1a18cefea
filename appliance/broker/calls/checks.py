"""May this call be made: five checks in their order, each a decision that returns a value.

    intent      one strict request for the https origin that the worker attests
    binding     the account that the gateway chose is bound to the tenant, here and now
    policy      the one evaluator allows the request by that account's group; its body fits the schema
    network     every address of the host is one that the tenant may be connected to
    container   the link that the call came over is still the tenant's, as netd says; `caller` where no
                container calls: the caller may still call

The first that fails ends the call, and no later one is looked at (requirement 004-31). All stand before the
first secret is decrypted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from appliance.broker.calls import refusals
from appliance.broker.calls.for_caller import CallerAttestation, scope_refusal
from appliance.handover import Attestation
from appliance.http1.head import RequestHead
from appliance.http1.target import TargetForm, query_pieces
from appliance.names import HostName
from appliance.policy.bound import CompiledAccount, CompiledGroup
from appliance.policy.denials import WEBSOCKET
from appliance.policy.methods import READING
from appliance.policy.tenant import TenantPolicy
from appliance.policy.verdict import RequestFacts, Verdict
from appliance.refusal import Refusal
from appliance.websocket.handshake import offered

if TYPE_CHECKING:
    from appliance.endpoints import Endpoint

MAX_NESTING = 64
"""Of a JSON body, so that whoever reads it next can."""


OTHER_RESOURCE = (
    "x-amz-copy-source", "x-amz-rename-source", "x-goog-copy-source", "x-ms-copy-source",
    "x-ms-rename-source", "x-oss-copy-source", "x-obs-copy-source", "x-cos-copy-source", "x-copy-from",
    "destination",
)  # fmt: skip
"""Beginnings of fields that name a second resource: by the account's secret it would be read, or written.

S3 copies from any bucket that the key may read, whatever buckets the account has; `Destination` is WebDAV's.
Where a path names a second one, as in Cloud Storage's, the definition writes its paths out.
"""

_OTHER_RESOURCE = tuple(name.encode("ascii") for name in OTHER_RESOURCE)

MAX_PARTS = 400_000
"""Commas and brackets of a JSON body: some 0.3 s of the one thread that serves everybody, and 100 MiB.

Long texts, as pictures in base64 are, have few of them.
"""


class Check(StrEnum):
    """The five, in their order; the last is of the container that calls, or of the caller that is none."""

    INTENT = "intent"
    BINDING = "binding"
    POLICY = "policy"
    NETWORK = "network"
    CONTAINER = "container"
    CALLER = "caller"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the first three found: the account, its group that fits, and the verdict that says so."""

    account: CompiledAccount
    group: CompiledGroup
    verdict: Verdict


def intent(attestation: Attestation, head: RequestHead) -> Refusal | None:
    """Whether the request can be understood as a call at all."""
    if head.form is not TargetForm.ORIGIN or head.upgrade not in (None, WEBSOCKET) or not head.http_11:
        return refusals.denied(400, "call-malformed", "The request is no plain HTTP/1.1 call.", "Send one.")
    if not isinstance(head.host, HostName):
        return refusals.denied(403, "host-is-address", "A provider is called by its name.", "Use the name.")
    if (head.port or 443) != attestation.port:
        return refusals.denied(
            421,
            "port-mismatch",
            f"Host names port {head.port}, the call is for {attestation.port}.",
            "Retry.",
        )
    return None


def binding(attestation: Attestation, policy: TenantPolicy) -> CompiledAccount | Refusal:
    """The account, if it is bound to the tenant."""
    if policy.tenant != attestation.tenant:
        return refusals.ACCOUNT_UNBOUND
    return policy.account(attestation.account) or refusals.ACCOUNT_UNBOUND


def policy_allows(
    attestation: Attestation, head: RequestHead, account: CompiledAccount, policy: TenantPolicy
) -> Allowed | Refusal:
    """The evaluator's verdict, which must be by this very account, and about all that the request names."""
    for raw_name, _ in head.headers:
        name = raw_name.lower().replace(b"_", b"-")
        if name.startswith(_OTHER_RESOURCE):
            return refusals.other_resource(name.decode("ascii", "replace"))
    verdict = policy.judge(facts_of(attestation, head))
    if not verdict.allowed:
        status = {"uri-too-long": 414, "headers-too-large": 431, "body-too-large": 413}.get(
            verdict.reason, 403
        )
        return refusals.denied(status, str(verdict.reason), verdict.detail, verdict.mend, verdict.rule)
    group = account.groups.get(verdict.group or "")
    if verdict.account != account.name or group is None or verdict.upgrade != head.upgrade:
        return refusals.ACCOUNT_UNBOUND
    return scope_refusal(attestation, account, group) or Allowed(account, group, verdict)


def addresses_allowed(
    policy: TenantPolicy, host: HostName, port: int, addresses: Iterable[IPv4Address]
) -> Refusal | None:
    """Whether the tenant may be connected to every address of the host: one that is bad condemns them all."""
    for address in addresses:
        verdict = policy.judge_address(host, port, address)
        if not verdict.allowed:
            return refusals.denied(403, str(verdict.reason), verdict.detail, verdict.mend, verdict.rule)
    return None


def last(attestation: Attestation) -> Check:
    """Whom `container` asks about."""
    return Check.CALLER if isinstance(attestation, CallerAttestation) else Check.CONTAINER


def container(attestation: Attestation, endpoint: Endpoint | None) -> Refusal | None:
    """Whether netd knows the link as the worker attests it: the tenant's, and with that address.

    A caller that is no container has no link: it is asked whether it may call still.
    """
    if isinstance(attestation, CallerAttestation):
        return attestation.refusal()
    source = attestation.source.rpartition(":")[0]
    if endpoint is None or endpoint.tenant != attestation.tenant or str(endpoint.address) != source:
        return refusals.denied(
            403, "endpoint-unknown", "No link of this tenant is the one that the call came over.", "Retry."
        )
    return None


def as_netd_says(attestation: Attestation, endpoint: Endpoint | None) -> Attestation:
    """With container and run as netd knows them: no worker says whom a record, or an end, is about."""
    if endpoint is None or endpoint.tenant != attestation.tenant:
        return attestation  # also of a caller, which has no endpoint
    if (endpoint.container, endpoint.run) == (attestation.container, attestation.run):
        return attestation
    return replace(attestation, container=endpoint.container, run=endpoint.run)


def same_place(one: Allowed, other: Allowed) -> bool:
    """Whether the same secret goes into the same slot of a request, and its body is read alike."""
    return (
        same_secret(one.account, other.account)
        and (one.group.name, one.group.slot) == (other.group.name, other.group.slot)
        and (one.group.body is None) == (other.group.body is None)
    )


def same_secret(one: CompiledAccount, other: CompiledAccount) -> bool:
    """Whether both are the same account with the same secret, of the same kinds."""
    return (one.name, one.integration, one.secret, one.kinds) == (
        other.name, other.integration, other.secret, other.kinds
    )  # fmt: skip


def body_fits(group: CompiledGroup, method: str, body: bytes | None) -> Refusal | None:
    """Whether a body that the group has a schema for is as it says. What is no JSON, or nothing, is not."""
    if group.body is None or body is None or (not body and method in READING):
        return None
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PARTS:
        return _unfit(f"The body has more than {MAX_PARTS} parts.")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _unfit("The body is no JSON, or has a member twice.")
    if _too_deep(value):
        return _unfit(f"The body is nested deeper than {MAX_NESTING}.")
    return None if group.body.fits(value) else _unfit("The body is not as the integration's schema wants it.")


def facts_of(attestation: Attestation, head: RequestHead) -> RequestFacts:
    """What policy is asked about."""
    return RequestFacts(
        head.method, "https", head.host, attestation.port, head.path, head.pairs, head.content_type,
        head.content_length, head.chunked, head.uri_bytes, head.head_bytes, head.upgrade,
        () if head.upgrade is None else offered(head), query_pieces(head.query),
    )  # fmt: skip


def _unfit(detail: str) -> Refusal:
    return refusals.denied(400, "body-not-allowed", detail, refusals.BODY_INVALID_MEND)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _too_deep(value: object) -> bool:
    layer, depth = [value], 0
    while layer:
        depth += 1
        if depth > MAX_NESTING:
            return True
        layer = [
            item
            for part in layer
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    return False
