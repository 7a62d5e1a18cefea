"""Squid's line about a request as an audit record (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from appliance.audit.record import ConnectionRecord, Interception, Outcome, RequestRecord
from appliance.endpoints import Endpoint
from squid.model import Denial
from squid.render import SQUID_ERRORS, page_name

FORMAT = "%>a %>p %rm %>rs %>rd %>rP %>rp %>Hs %<a %>st %<st %tr %err_code"
"""What squid.conf says under `logformat egress`: thirteen words, `-` for none."""

RULE = "squid fallback"
_WORDS = len(FORMAT.split())
_REASONS = {page_name(denial): denial.value for denial in Denial} | SQUID_ERRORS
_MALFORMED = frozenset(
    {"ERR_INVALID_REQ", "ERR_INVALID_URL", "ERR_CONFLICT_HOST", "ERR_TOO_BIG", "ERR_UNSUP_REQ"}
)
_KEY = re.compile(r"[?&]([^=&]*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, cut into words; `source` is the caller's address."""

    source: str
    port: str
    method: str
    scheme: str
    host: str
    host_port: str
    target: str
    status: str
    upstream: str
    bytes_in: str
    bytes_out: str
    milliseconds: str
    error: str


def parse(text: str) -> Line | None:
    """The line, or None for what is none of ours."""
    words = text.split(" ")
    return Line(*words) if len(words) == _WORDS else None


def record_of(
    line: Line, endpoint: Endpoint | None, identity: UUID
) -> RequestRecord | ConnectionRecord | None:
    """The record of a line; None for a CONNECT that was not denied: what it carries has its own."""
    status = _number(line.status) or None
    reason = _REASONS.get(line.error, "allowed-by-fallback" if line.error == "-" else "upstream-failed")
    denied = line.error.startswith("ERR_EGRESS_") or line.error in _MALFORMED
    ended = Outcome.ALLOWED if line.error == "-" else Outcome.FAILED
    outcome = Outcome.DENIED if denied else ended
    if line.method == "CONNECT" and not denied:
        return None
    tenant, identifier = (endpoint.tenant, endpoint.id) if endpoint else (None, None)
    container, run = (endpoint.container, endpoint.run) if endpoint else (None, None)
    source = f"{line.source}:{line.port}"
    if line.scheme not in {"http", "https"} and line.method != "CONNECT":
        return ConnectionRecord(
            connection_id=str(identity),
            tenant=tenant,
            endpoint=identifier,
            container=container,
            run=run,
            source=source,
            destination="",
            outcome=Outcome.DENIED,
            reason=reason,
            rule=RULE,
            detail=None,
            status=status,
            bytes_to_client=_number(line.bytes_out),
            duration_ms=float(_number(line.milliseconds)),
        )
    path, _, _ = line.target.partition("?")
    return RequestRecord(
        request_id=str(identity),
        tenant=tenant,
        endpoint=identifier,
        container=container,
        run=run,
        source=source,
        method=line.method,
        scheme=line.scheme if line.scheme != "-" else "https",
        host=line.host,
        port=_number(line.host_port),
        path=path,
        query_keys=tuple(_KEY.findall(line.target[len(path) :])),
        outcome=outcome,
        reason=reason,
        rule=RULE,
        detail=None,
        status=status,
        upstream_address=None if line.upstream == "-" else line.upstream,
        bytes_to_upstream=_number(line.bytes_in) if outcome is Outcome.ALLOWED else 0,
        bytes_to_client=_number(line.bytes_out),
        duration_ms=float(_number(line.milliseconds)),
        tls=Interception.INTERCEPTED if line.scheme == "https" else Interception.NONE,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
