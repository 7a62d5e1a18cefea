"""The gateway's own documents for its tenants: the CA that signs for it, and what the caller is to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from appliance.gateway.channel import WELL_KNOWN, Caller
from appliance.http1.head import RequestHead

if TYPE_CHECKING:
    from appliance.gateway.worker import Worker


def page(head: RequestHead, worker: Worker, caller: Caller) -> bytes | None:
    """A whole response, or None when there is no such document (or the method is not GET or HEAD)."""
    if head.method not in {"GET", "HEAD"} or head.query is not None:
        return None
    if head.path == WELL_KNOWN + "ca.pem":
        return _response(head, "application/x-pem-file", worker.root_pem)
    if head.path == WELL_KNOWN + "status":
        return _response(head, "application/json", _status(worker, caller))
    return None


def _status(worker: Worker, caller: Caller) -> bytes:
    """Only what the caller may know anyway: who it is, and its own caps."""
    policy = worker.policy(caller.endpoint.tenant)
    caps = policy.caps
    status = {
        "tenant": caller.endpoint.tenant,
        "address": str(caller.endpoint.address),
        "policy_generation": policy.generation,
        "caps": {
            "uri_bytes": caps.uri_bytes,
            "header_bytes": caps.header_bytes,
            "request_body_bytes": caps.request_body_bytes,
            "response_body_bytes": caps.response_body_bytes,
        },
        "connections": policy.limits.container.connections,
    }
    return json.dumps(status, separators=(",", ":")).encode("ascii") + b"\n"


def _response(head: RequestHead, content_type: str, body: bytes) -> bytes:
    lines = (
        "HTTP/1.1 200 OK",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(() if head.keep_alive else ("Connection: close",)),
    )
    start = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    return start if head.method == "HEAD" else start + body
