"""What the broker answers to workloads and to callers, as data. Nothing else is answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from appliance.broker.api import refusals
from appliance.http1.fields import HOP_BY_HOP, REWRITTEN, travels_in_request
from appliance.http1.framing import BodyKind
from appliance.http1.head import RequestHead
from appliance.http1.target import DEFAULT_PORTS, TargetForm
from appliance.names import BROKER_NAME
from appliance.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Route:
    """`operation` names a method of `Operations`; `max_body` in octets, 0: no body."""

    method: str
    path: str
    operation: str
    max_body: int = 0


ROUTES = (
    Route("POST", "/v1/session", "open_session", 4 * 1024),
    Route("DELETE", "/v1/session", "close_session"),
    Route("POST", "/v1/handles", "give_handle", 4 * 1024),
    Route("DELETE", "/v1/handles", "end_handles"),
    Route("POST", "/execute", "execute", 1024 * 1024),
)
"""For workloads: each needs a certificate; all but the first a session as well."""

FOR_CALLERS = tuple(route for route in ROUTES if route.operation == "execute")
"""What a caller that is no container may ask, without TLS, on a Unix socket."""

_JSON = "application/json"


def route_of(
    head: RequestHead, routes: tuple[Route, ...] = ROUTES, scheme: Literal["http", "https"] = "https"
) -> Route | Refusal:
    """The route of a request that is one in every respect but its body."""
    if head.form is not TargetForm.ORIGIN or head.upgrade is not None or not head.http_11:
        return refusals.NOT_PLAIN
    if head.host != BROKER_NAME or head.port not in {None, DEFAULT_PORTS[scheme]}:
        return refusals.MISDIRECTED
    for name, _ in head.headers:
        lower = name.lower()
        if not (lower in HOP_BY_HOP or lower in REWRITTEN or travels_in_request(lower, frozenset())):
            return refusals.field_not_allowed(lower.decode("ascii", "replace"))
    there = [route for route in routes if route.path == head.path]
    if not there or head.query is not None:
        return refusals.NOT_FOUND
    route = next((route for route in there if route.method == head.method), None)
    if route is None:
        return refusals.METHOD_NOT_ALLOWED
    return _body_refusal(route, head) or route


def _body_refusal(route: Route, head: RequestHead) -> Refusal | None:
    has_body = head.framing.kind is BodyKind.CHUNKED or head.framing.length > 0
    if has_body and head.framing.length > route.max_body:
        return refusals.body_too_large(route.max_body)
    if has_body and not route.max_body:
        return replace(refusals.BODY_UNWANTED, closes=True)
    if route.max_body and head.content_type != _JSON:
        return refusals.NOT_JSON
    return None
