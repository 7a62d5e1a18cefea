"""The request that `/execute` is asked to make: written out, and read again by the one strict gate.

`url` is absolute, https, and of a host by name: nothing else in the message can say where the request goes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from appliance.broker.api import refusals
from appliance.broker.api.messages import ExecuteWish
from appliance.broker.calls.refusals import ACCOUNT_UNBOUND
from appliance.http1 import grammar
from appliance.http1.fields import travels_in_request
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore, Refused
from appliance.http1.target import DEFAULT_PORTS
from appliance.names import Authority, HostName, InvalidName
from appliance.policy.bound import CompiledAccount
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal

LIMITS = HeadLimits(request_line=9 * 1024, head=64 * 1024, encoded_slash=True)
# Scheme, authority and what follows; no fragment, no white space, nothing but ASCII that can be seen.
_URL = re.compile(r"https://([^/?#@\\\x00-\x20\x7f-\U0010ffff]+)(/[!\"$-~]*)?")
_METHOD = re.compile(r"[A-Z]{1,32}")
# A tunnel is no request; an answer to HEAD cannot be told in an answer to POST (RFC 9110 section 9.3.2).
_NOT_MADE = frozenset({"CONNECT", "HEAD", "TRACE"})


class Intended(NamedTuple):
    """A request as a client would send it to the provider itself."""

    head: RequestHead
    body: bytes
    host: HostName
    port: int


def intended(wish: ExecuteWish) -> Intended | Refusal:
    """What the message describes, or why it is no request."""
    found = _URL.fullmatch(wish.url)
    if found is None:
        return refusals.url_invalid("is not absolute, of https, and without user and fragment")
    try:
        authority = Authority.parse(found[1].encode("ascii"), DEFAULT_PORTS["https"])
    except InvalidName as error:
        return refusals.url_invalid(f"has no host and port that are taken ({error.reason})")
    if not isinstance(authority.host, HostName):
        return refusals.url_invalid("is of an address; a provider is called by its name")
    if not _METHOD.fullmatch(wish.method) or wish.method in _NOT_MADE:
        return refusals.request_invalid("method-not-made", "a request of that method is not made here")
    body = b"" if wish.body is None else wish.body.encode("utf-8", "surrogatepass")
    lines = [f"{wish.method} {found[2] or '/'} HTTP/1.1", f"Host: {authority}"]
    for name, value in wish.headers.items():
        refusal = _field_refusal(name, value)
        if refusal is not None:
            return refusal
        lines.append(f"{name}: {value}")
    if wish.body is not None:
        lines.append(f"Content-Length: {len(body)}")
    wire = "\r\n".join([*lines, "", ""]).encode("ascii")
    try:
        head = parse_request_head(wire, LIMITS)
    except Refused as fault:
        return refusals.request_invalid(fault.reason, fault.detail)
    if isinstance(head, NeedMore) or head.head_bytes != len(wire):
        return refusals.request_invalid("call-malformed", "the request is not one")
    return Intended(head, body, authority.host, authority.port)


def account_of(
    wish: ExecuteWish, policy: TenantPolicy, host: HostName, port: int
) -> CompiledAccount | Refusal:
    """The account that is named. Whether it may carry the request is judged as for any call."""
    if wish.account is not None:
        return policy.account(wish.account) or ACCOUNT_UNBOUND
    found = [
        account
        for account in policy.bound.accounts.values()
        if account.integration == wish.connector and account.covers(host.text, port)
    ]
    if len(found) > 1:
        return refusals.CONNECTOR_AMBIGUOUS
    return found[0] if found else ACCOUNT_UNBOUND


def holds(wish: ExecuteWish, token: str) -> bool:
    """Whether a session's token stands anywhere in the message: it is for the broker alone."""
    return any(token in text for text in (wish.url, wish.body or "", *wish.headers, *wish.headers.values()))


def _field_refusal(name: str, value: str) -> Refusal | None:
    try:
        raw_name, raw_value = name.encode("ascii"), value.encode("ascii")
    except UnicodeEncodeError:
        return refusals.request_invalid("field-invalid", "a header field is not ASCII")
    if not grammar.token(raw_name) or not grammar.field_value(raw_value):
        return refusals.request_invalid("field-invalid", "a header field is none")
    if not travels_in_request(raw_name.lower(), frozenset()):
        return refusals.field_not_allowed(name)
    return None
